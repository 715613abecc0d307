"""`python -m assets.training`: train the demo model from one seed and write it as GGUF."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from assets.training.export import KINDS, write_gguf
from assets.training.model import Shape
from assets.training.train import Recipe, train

DEFAULT_OUT = Path(__file__).parents[1] / "models" / "seatrial-demo.gguf"


def main() -> None:
    """Parse, train, export."""
    parser = argparse.ArgumentParser(prog="python -m assets.training", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), help="checkpoints; a killed run goes on from here"
    )
    parser.add_argument("--type", choices=sorted(KINDS), default="q8_0", help="how the matrices are stored")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = train(Recipe(seed=args.seed, steps=args.steps, shape=Shape(), work=args.work))
    write_gguf(model, tokenizer, args.out, args.type)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
