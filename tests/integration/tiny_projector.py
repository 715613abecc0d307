"""Projectors of random weights for tests: an image to a few rows of the demo model's width, in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.config import DEMO_MODEL
from tests.benchmarks.engine_bench.gguf_file import Q8_BLOCK, Tensor, metadata_of, write

WIDTH, HEADS, PATCH = 64, 4, 8
DEMO_WIDTH = 192
"""n_embd of the demo model."""


def write_projector(path: Path, kind: str = "mlp", *, n_embd: int = DEMO_WIDTH, side: int = 32, layers: int = 3) -> int:
    """Write a projector (GGUF) for a model of width `n_embd`; returns the rows that an image becomes.

    kind: mlp (LLaVA; an image is computed like text), gemma3 (all rows of an image see each other) or qwen2vl_merger
    (positions have a time, a row and a column; how many rows depends on the image). side: pixels of the square that
    an image is scaled to.
    """
    random = np.random.default_rng(7)
    patches = (side // PATCH) ** 2
    tensors: list[Tensor] = []

    def add(name: str, shape: tuple[int, ...], scale: float = 0.0, mean: float = 0.0) -> None:
        values = (mean + scale * random.standard_normal(shape)).astype("<f4")
        tensors.append(Tensor(name, shape, quantised=False, pieces=[values.tobytes()]))

    def norm(name: str) -> None:
        add(f"{name}.weight", (WIDTH,), 0.05, 1.0)
        add(f"{name}.bias", (WIDTH,), 0.05)

    def linear(name: str, rows: int, columns: int) -> None:
        add(f"{name}.weight", (rows, columns), 1.5 / columns**0.5)
        add(f"{name}.bias", (rows,), 0.05)

    add("v.patch_embd.weight", (WIDTH, 3, PATCH, PATCH), 0.1)
    if kind == "qwen2vl_merger":
        add("v.patch_embd.weight.1", (WIDTH, 3, PATCH, PATCH), 0.1)
    else:
        add("v.position_embd.weight", (patches, WIDTH), 0.5)
    norm("v.pre_ln" if kind == "mlp" else "v.post_ln")
    for layer in range(layers):
        block = f"v.blk.{layer}"
        norm(f"{block}.ln1")
        norm(f"{block}.ln2")
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(f"{block}.{part}", WIDTH, WIDTH)
        linear(f"{block}.ffn_up", 2 * WIDTH, WIDTH)
        linear(f"{block}.ffn_down", WIDTH, 2 * WIDTH)
    if kind == "gemma3":
        add("mm.input_projection.weight", (WIDTH, n_embd), 0.02)
        add("mm.soft_emb_norm.weight", (WIDTH,), 0.05, 1.0)
    else:
        merged = WIDTH if kind == "mlp" else 4 * WIDTH
        linear("mm.0", 2 * WIDTH, merged)
        linear("mm.2", n_embd, 2 * WIDTH)
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": f"random {kind}",
        "clip.has_vision_encoder": True,
        "clip.projector_type": kind,
        "clip.use_gelu": True,
        "clip.vision.image_size": side,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": 2 * WIDTH,
        "clip.vision.block_count": layers,
        "clip.vision.projection_dim": n_embd,
        "clip.vision.attention.head_count": HEADS,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
        "clip.vision.projector.scale_factor": 2,
    }
    write(path, metadata, tensors)
    return patches if kind == "mlp" else patches // 4


def write_model_with_grid(path: Path) -> None:
    """A model of random weights whose positions have a time, a row and a column (qwen2vl), with the demo's tokens.

    Tokens that are not letters have short rows, so that it hardly ever says them.
    """
    demo = metadata_of(DEMO_MODEL)
    metadata = {key.replace("llama.", "qwen2vl."): value for key, value in demo.items()}
    metadata |= {"general.architecture": "qwen2vl", "qwen2vl.rope.dimension_sections": [4, 6, 6, 0]}
    metadata |= {"general.file_type": 7, "qwen2vl.block_count": 2}
    random = np.random.default_rng(8)

    def tensor(name: str, *shape: int, silent: list[int] | None = None) -> Tensor:
        values = np.ones(shape) if len(shape) == 1 else 2 * random.standard_normal(shape) / shape[1] ** 0.5
        values[silent or []] *= 0.01
        pieces = [values.astype("<f4").tobytes()] if len(shape) == 1 else [_q8(values)]
        return Tensor(f"{name}.weight", shape, quantised=len(shape) > 1, pieces=pieces)

    width, hidden = DEMO_WIDTH, demo["llama.feed_forward_length"]
    tokens: list[str] = demo["tokenizer.ggml.tokens"]
    silent = [id for id, token in enumerate(tokens) if not (token.isascii() and token.isalpha())]
    tensors = [tensor("token_embd", len(tokens), width, silent=silent), tensor("output_norm", width)]
    for layer in range(2):
        tensors += [tensor(f"blk.{layer}.{name}_norm", width) for name in ("attn", "ffn")]
        tensors += [tensor(f"blk.{layer}.attn_{name}", width, width) for name in ("q", "k", "v", "output")]
        tensors += [tensor(f"blk.{layer}.ffn_{name}", hidden, width) for name in ("gate", "up")]
        tensors.append(tensor(f"blk.{layer}.ffn_down", width, hidden))
    write(path, metadata, tensors)


def _q8(values: np.ndarray) -> bytes:
    """Q8_0: with it an answer is the same to the bit however its steps were cut."""
    rows = values.reshape(-1, Q8_BLOCK)
    blocks = np.empty(len(rows), np.dtype([("scale", "<f2"), ("weights", "i1", Q8_BLOCK)]))
    blocks["scale"] = np.abs(rows).max(axis=1) / 127
    blocks["weights"] = np.round(rows / np.maximum(blocks["scale"].astype(np.float32), 1e-7)[:, None]).clip(-127, 127)
    return blocks.tobytes()
