"""Random-weight Llama models: they cost exactly what trained ones of the same shape cost to run.

Each is written once, straight as Q8_0, into the user's cache directory. Tokens that would end an answer or that are
half a character have zero rows in the output matrix, so they are never among the likeliest: every token is text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from tests.benchmarks.engine_bench import gguf_file
from tests.benchmarks.engine_bench.gguf_file import Q8_BLOCK, Tensor

RECIPE = 1
"""Part of the file's name: raise it whenever this module writes something else."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CONTROLS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
"""llama.cpp's token types."""
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PIECE_BLOCKS = 1 << 18
"""Blocks made at once: 9 MB."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a Llama model."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    context: int
    tied: bool
    """The output matrix is the embedding."""

    @property
    def parameters(self) -> int:
        attention = 2 * self.width**2 + 2 * self.width * self.kv_width
        layer = attention + 3 * self.width * self.hidden
        return self.layers * layer + (1 if self.tied else 2) * self.vocabulary * self.width

    @property
    def kv_width(self) -> int:
        return self.width // self.heads * self.kv_heads


SHAPES = {
    shape.name: shape
    for shape in (
        ModelShape("160m", 16, 768, 12, 4, 2048, 32_000, 8192, tied=False),
        ModelShape("1b", 16, 2048, 32, 8, 8192, 128_256, 8192, tied=True),
        ModelShape("8b", 32, 4096, 32, 8, 14_336, 128_256, 8192, tied=False),
    )
}
"""160m: 16 x 768, the vocabulary of Llama 2; 1b and 8b: Llama 3's sizes."""


def model_file(shape: ModelShape) -> Path:
    """The GGUF file of `shape`, written now if it is not in the cache."""
    folder = platformdirs.user_cache_path("seatrial", appauthor=False) / "benchmarks"
    path = folder / f"random-{shape.name}-q8_0-{RECIPE}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        gguf_file.write(path, _metadata(shape), list(_tensors(shape)))
    return path


def vocabulary(size: int) -> tuple[list[str], list[int]]:
    """Token texts and types, as in a SentencePiece model: controls, bytes, then pieces of rising length.

    Every word of three letters after a space is one token, and so is every piece that leads to it.
    """
    tokens = [*_CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    kinds = [_UNKNOWN, *[_CONTROL] * (len(_CONTROLS) - 1), *[_BYTE] * 256, _NORMAL]
    starts = ("", "\u2581")
    lengths = ((length, start) for length in itertools.count(1) for start in reversed(starts))
    pieces = (
        start + "".join(letters) for length, start in lengths for letters in itertools.product(_LETTERS, repeat=length)
    )
    tokens += itertools.islice(pieces, size - len(tokens))
    return tokens, kinds + [_NORMAL] * (size - len(kinds))


def _metadata(shape: ModelShape) -> dict[str, object]:
    tokens, kinds = vocabulary(shape.vocabulary)
    head = shape.width // shape.heads
    return {
        "general.architecture": "llama",
        "general.name": f"random weights, {shape.name}",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.hidden,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": head,
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": shape.vocabulary,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(index) for index in range(len(tokens))],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 4,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.chat_template": _TEMPLATE,
    }


def _tensors(shape: ModelShape) -> Iterator[Tensor]:
    rng = np.random.default_rng(0)
    width, hidden, kv = shape.width, shape.hidden, shape.kv_width
    silent = len(_CONTROLS) + 256

    def matrix(name: str, rows: int, columns: int, zero_rows: int = 0, gain: float = 1.0) -> Tensor:
        pieces = _blocks(rng, rows, columns, zero_rows, gain / math.sqrt(columns))
        return Tensor(f"{name}.weight", (rows, columns), True, pieces)

    def ones(name: str) -> Tensor:
        return Tensor(f"{name}.weight", (width,), False, [np.ones(width, np.float32).tobytes()])

    yield matrix("token_embd", shape.vocabulary, width, silent, gain=2.0)
    for index in range(shape.layers):
        at = f"blk.{index}"
        yield ones(f"{at}.attn_norm")
        yield matrix(f"{at}.attn_q", width, width)
        yield matrix(f"{at}.attn_k", kv, width)
        yield matrix(f"{at}.attn_v", kv, width)
        yield matrix(f"{at}.attn_output", width, width)
        yield ones(f"{at}.ffn_norm")
        yield matrix(f"{at}.ffn_gate", hidden, width)
        yield matrix(f"{at}.ffn_up", hidden, width)
        yield matrix(f"{at}.ffn_down", width, hidden)
    yield ones("output_norm")
    if not shape.tied:
        yield matrix("output", shape.vocabulary, width, silent, gain=2.0)


def _blocks(rng: np.random.Generator, rows: int, columns: int, zero_rows: int, deviation: float) -> Iterator[bytes]:
    """Q8_0 blocks (a float16 scale, 32 signed bytes) of uniform numbers with this standard deviation."""
    total, silent = rows * columns // Q8_BLOCK, zero_rows * columns // Q8_BLOCK
    scale = np.float16(deviation * math.sqrt(3.0) / 127.0)
    layout = np.dtype([("scale", "<f2"), ("weights", "i1", Q8_BLOCK)])
    for start in range(0, total, _PIECE_BLOCKS):
        count = min(_PIECE_BLOCKS, total - start)
        blocks = np.empty(count, layout)
        blocks["scale"] = np.where(np.arange(start, start + count) < silent, np.float16(0.0), scale)
        blocks["weights"] = rng.integers(-127, 128, size=(count, Q8_BLOCK), dtype=np.int8)
        yield blocks.tobytes()
