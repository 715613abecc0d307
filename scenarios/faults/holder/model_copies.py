"""Copies of a model's file that are not the model: its first half, and another model of the same shape."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import ModelError
from engine.ggml_types import TENSOR_TYPES
from engine.gguf import Head, TensorInfo, read_head
from scenarios.faults.injector import FaultRefused

MOST_BYTES = 4 << 30
"""A larger model is not copied: it would take too long and too much of the disk."""
HALF_MOST_BYTES = 64 << 20
_SPARE_BYTES = 256 << 20
"""The disk keeps at least so much."""
_STEP_BYTES = 16 << 20
_EMBEDDING = "token_embd.weight"

Span = tuple[int, int]
"""From one offset in the file to another, the end not included."""


def write_half(model: Path, copy: Path, stopped: Callable[[], bool]) -> None:
    """The first half of the file, or its beginning where that is long. Raises FaultRefused, OSError."""
    _copy(model, copy, [(0, min(model.stat().st_size // 2, HALF_MOST_BYTES))], stopped)


def write_other(model: Path, copy: Path, stopped: Callable[[], bool]) -> None:
    """A file that loads like the model, and answers otherwise: some weights have changed places.

    The first and the last MiB differ or not as it happens to be, but never both stay the same: the last tensor is among
    those that are changed.

    Raises:
        FaultRefused: the model is too large, the disk too full, or the file cannot be read as GGUF.
        OSError: it cannot be written.
    """
    try:
        head = read_head(model)
    except ModelError as error:
        raise FaultRefused(f"the model's file cannot be changed: {error}") from error
    _copy(model, copy, list(turned(head)), stopped)


def turned(head: Head) -> Iterator[Span]:
    """The whole file in pieces, in such an order that in two tensors the halves have changed places."""
    last = max(head.tensors, key=lambda tensor: tensor.offset)
    chosen = {tensor.offset: tensor for tensor in head.tensors if tensor.name == _EMBEDDING} | {last.offset: last}
    at = 0
    for offset in sorted(chosen):
        begin = head.weights_begin + offset
        middle, end = begin + _half(chosen[offset]), begin + chosen[offset].bytes
        yield from ((at, begin), (middle, end), (begin, middle))
        at = end
    yield (at, head.file_bytes)


def _half(tensor: TensorInfo) -> int:
    """Bytes of about half of it, in whole rows; in whole blocks where it has but one row."""
    stored = TENSOR_TYPES[tensor.kind]
    one_row = len(tensor.shape) == 1 or tensor.bytes * stored.block == tensor.shape[0] * stored.bytes
    unit = stored.bytes if one_row else tensor.shape[0] // stored.block * stored.bytes
    return tensor.bytes // unit // 2 * unit


def _copy(model: Path, copy: Path, spans: list[Span], stopped: Callable[[], bool]) -> None:
    """`spans` of the model's file, one after the other; ends early, with half a file, where it is stopped."""
    size = sum(end - begin for begin, end in spans)
    if size > MOST_BYTES:
        raise FaultRefused(f"the model's file has {size:,} bytes, and no more than {MOST_BYTES:,} are copied")
    if shutil.disk_usage(copy.parent).free < size + _SPARE_BYTES:
        raise FaultRefused(f"{copy.parent} has no room for a copy of {size:,} bytes; choose another with --runs-dir")
    with model.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as made:
        for begin, end in spans:
            at = begin
            while at < end and not stopped():
                sent = os.sendfile(made.fileno(), source.fileno(), at, min(end - at, _STEP_BYTES))
                if not sent:
                    raise FaultRefused(f"the model's file ends at {at:,} bytes: it was changed while it was copied")
                at += sent
