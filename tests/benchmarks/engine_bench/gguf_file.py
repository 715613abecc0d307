"""GGUF files with numpy alone: write one tensor by tensor, read the metadata of one.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little-endian).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

_MAGIC = b"GGUF"
_ALIGNMENT = 32
Q8_BLOCK = 32
_Q8_BLOCK_BYTES = 34


class _Kind(IntEnum):
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9


_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor to write: `pieces` yields its bytes. `shape` is numpy's order, rows first."""

    name: str
    shape: tuple[int, ...]
    quantised: bool
    """Q8_0, else float32."""
    pieces: Iterable[bytes]

    @property
    def size_bytes(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count // Q8_BLOCK * _Q8_BLOCK_BYTES if self.quantised else count * 4


def write(path: Path, metadata: Mapping[str, Any], tensors: list[Tensor]) -> None:
    """Write beside `path` and move it there in one step. Values: bool, int, float, str, and lists of one of them.

    Raises OSError when the disk is full; nothing is left at `path` then.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(_MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
            for key, value in metadata.items():
                kind = _kind_of(value)
                file.write(_string(key) + struct.pack("<I", kind) + _value(kind, value))
            offset = 0
            for tensor in tensors:
                layout = 8 if tensor.quantised else 0
                shape = tensor.shape[::-1]
                file.write(_string(tensor.name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, layout, offset))
                offset += _padded(tensor.size_bytes)
            file.write(b"\0" * (_padded(file.tell()) - file.tell()))
            for tensor in tensors:
                written = 0
                for piece in tensor.pieces:
                    written += file.write(piece)
                if written != tensor.size_bytes:
                    raise ValueError(f"{tensor.name} has {written} bytes and should have {tensor.size_bytes}")
                file.write(b"\0" * (_padded(written) - written))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def metadata_of(path: Path) -> dict[str, Any]:
    """Every key of a GGUF file. Raises ValueError when it is none."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ValueError(f"{path} is no GGUF file")
        _version, _tensors, count = struct.unpack("<IQQ", file.read(20))
        return dict(_entries(file, count))


def _entries(file: BinaryIO, count: int) -> Iterator[tuple[str, Any]]:
    for _ in range(count):
        key = _read_string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        yield key, _read(file, kind)


def _read(file: BinaryIO, kind: int) -> Any:
    if kind == _Kind.STRING:
        return _read_string(file)
    if kind == _Kind.ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        return [_read(file, inner) for _ in range(count)]
    code = "<" + _SCALARS[kind]
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode("utf-8", "replace")


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _kind_of(value: Any) -> _Kind:
    match value:
        case bool():
            return _Kind.BOOL
        case int():
            return _Kind.UINT32
        case float():
            return _Kind.FLOAT32
        case str():
            return _Kind.STRING
        case list():
            return _Kind.ARRAY
    raise ValueError(f"GGUF metadata holds no {type(value).__name__}")


def _value(kind: _Kind, value: Any) -> bytes:
    if kind is _Kind.STRING:
        return _string(value)
    if kind is _Kind.ARRAY:
        inner = _kind_of(value[0])
        # Arrays of integers are token types, which llama.cpp reads as signed.
        inner = _Kind.INT32 if inner is _Kind.UINT32 else inner
        return struct.pack("<IQ", inner, len(value)) + b"".join(_value(inner, item) for item in value)
    return struct.pack("<" + _SCALARS[kind], value)


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
