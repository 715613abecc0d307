"""`python -m assets.training`: train the demo model from one seed and write it as GGUF."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from assets.training.crew import run_crew
from assets.training.export import KINDS
from assets.training.model import Shape
from assets.training.train import Recipe, make_tokenizer, train_and_write

DEFAULT_OUT = Path(__file__).parents[1] / "models" / "seatrial-demo.gguf"


def main() -> None:
    """Parse, train, export."""
    parser = argparse.ArgumentParser(prog="python -m assets.training", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--focus-steps", type=int, default=1000, help="a last phase on what is learned last")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread; part of the recipe")
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), help="checkpoints; a killed run goes on from here"
    )
    parser.add_argument("--type", choices=sorted(KINDS), default="q8_0", help="how the matrices are stored")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    args = parser.parse_args()
    recipe = Recipe(seed=args.seed, steps=args.steps, focus_steps=args.focus_steps, shape=Shape(), work=args.work)
    args.work.mkdir(parents=True, exist_ok=True)
    make_tokenizer(recipe)
    run_crew(args.workers, args.work, partial(train_and_write, recipe, args.out, args.type))
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
