"""Reads the head of a GGUF file: its metadata and its list of tensors, never the weights.

The file may be damaged or hostile, and is not trusted: it is read forward in windows, so a length that lies costs
nothing, and every count has a bound. Long arrays (a vocabulary has 100,000s of strings) are walked over and not built.
Format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from engine.errors import ModelError
from engine.ggml_types import TENSOR_TYPES

Value = int | float | bool | str | tuple[int | float | bool, ...]

LONGEST_TEXT_BYTES = 4096
"""Longer texts (chat templates) are cut here."""
_LONGEST_ARRAY = 1024
_LONGEST_KEY_BYTES = 65_535
_LONGEST_NAME_BYTES = 256
_MOST_ENTRIES, _MOST_TENSORS = 4096, 65_536
_MOST_HEAD_BYTES = 128 << 20  # the largest vocabularies take 16 MB; walking over this much takes a second or two
_WINDOW_BYTES = 1 << 20

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_NUMBERS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: _U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the list. `elements` numbers in `bytes` bytes, `kind` as in TENSOR_TYPES.

    offset: of its first byte, from where the weights begin.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    bytes: int
    offset: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Head:
    """What a GGUF file says of itself."""

    metadata: Mapping[str, Value]
    """Numbers, texts (cut at LONGEST_TEXT_BYTES) and short arrays of numbers."""
    lengths: Mapping[str, int]
    """Elements of every array."""
    tensors: tuple[TensorInfo, ...]
    file_bytes: int
    weights_begin: int
    """The offset of the first tensor's data in the file."""


def read_head(path: Path) -> Head:
    """The head of the file at `path`.

    Raises:
        ModelError: it cannot be read, is no GGUF file, is damaged, or shorter than its tensors need.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would block
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{path} is no regular file; give the path of a GGUF file")
            return _Reader(file, path, status.st_size).head()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check path and mode") from error


class _Reader:
    """Reads forward; holds one window of the file, or one text when that is longer."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        self._end = min(size, _MOST_HEAD_BYTES)
        self._data = b""
        self._base = 0
        """Where in the file `_data` begins."""
        self._at = 0
        """Where in `_data` reading goes on; beyond its end after a skip."""

    def head(self) -> Head:
        if self._take(4) != b"GGUF":
            raise self._wrong("is not a GGUF file", "convert it with llama.cpp's tools first")
        version = self._number(_U32)
        if version not in (2, 3):
            swapped = version & 0xFFFF == 0
            what = "is in big-endian order" if swapped else f"has GGUF version {version}, and 2 and 3 can be read"
            raise self._wrong(what, "convert it anew with llama.cpp's tools")
        tensor_count, entry_count = self._count("tensors", _MOST_TENSORS), self._count("entries", _MOST_ENTRIES)
        metadata: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(entry_count):
            key = self._text("a key", _LONGEST_KEY_BYTES)
            if key in metadata or key in lengths:
                raise self._wrong(f"has the key {key[:80]!r} twice", _DAMAGED)
            self._entry(key, metadata, lengths)
        tensors, weights_begin = self._tensors(tensor_count, metadata)
        return Head(metadata, lengths, tensors, self._size, weights_begin)

    def _entry(self, key: str, metadata: dict[str, Value], lengths: dict[str, int]) -> None:
        kind = self._number(_U32)
        if kind == _STRING:
            length = self._count("bytes of text", self._end)
            metadata[key] = self._take(min(length, LONGEST_TEXT_BYTES)).decode("utf-8", "replace")
            self._skip(max(0, length - LONGEST_TEXT_BYTES))
        elif kind == _ARRAY:
            self._array(key, metadata, lengths)
        else:
            metadata[key] = self._format(kind, key).unpack(self._take(self._format(kind, key).size))[0]

    def _array(self, key: str, metadata: dict[str, Value], lengths: dict[str, int]) -> None:
        kind = self._number(_U32)
        if kind == _STRING:
            lengths[key] = self._count("texts in an array", self._end // _U64.size)
            self._skip_texts(lengths[key])
            return
        number = self._format(kind, key)
        count = lengths[key] = self._count("numbers in an array", self._end // number.size)
        if count <= _LONGEST_ARRAY:
            metadata[key] = tuple(value for (value,) in number.iter_unpack(self._take(count * number.size)))
        else:
            self._skip(count * number.size)

    def _tensors(self, count: int, metadata: Mapping[str, Value]) -> tuple[tuple[TensorInfo, ...], int]:
        listed: list[TensorInfo] = []
        names: set[str] = set()
        for _ in range(count):
            name = self._text("a tensor's name", _LONGEST_NAME_BYTES)
            if name in names:
                raise self._wrong(f"has the tensor {name!r} twice", _DAMAGED)
            names.add(name)
            listed.append(self._tensor(name))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self._wrong(f"has the alignment {alignment!r}, which is no power of two", _DAMAGED)
        begin = -(-self._position // alignment) * alignment
        needed = max((begin + tensor.offset + tensor.bytes for tensor in listed), default=0)
        if needed > self._size:
            what = f"has {self._size:,} bytes and its tensors need {needed:,}"
            raise self._wrong(what, "the download or copy is not complete: fetch it again")
        return tuple(listed), begin

    def _tensor(self, name: str) -> TensorInfo:
        dimensions = self._number(_U32)
        if not 1 <= dimensions <= 4:
            raise self._wrong(f"gives the tensor {name!r} {dimensions} dimensions", _DAMAGED)
        shape = tuple(self._number(_U64) for _ in range(dimensions))
        kind, offset = self._number(_U32), self._number(_U64)
        if kind not in TENSOR_TYPES:
            what = f"stores the tensor {name!r} as type {kind}, which is not known here"
            raise self._wrong(what, "convert or quantise it anew with llama.cpp's tools")
        stored = TENSOR_TYPES[kind]
        if shape[0] % stored.block or not 0 < prod(shape) < 1 << 63:
            raise self._wrong(f"gives the tensor {name!r} ({stored.name}) the shape {shape}", _DAMAGED)
        return TensorInfo(name, shape, kind, prod(shape) // stored.block * stored.bytes, offset)

    def _format(self, kind: int, key: str) -> struct.Struct:
        if kind not in _NUMBERS:
            raise self._wrong(f"gives {key[:80]!r} the type {kind}, which is none", _DAMAGED)
        return _NUMBERS[kind]

    @property
    def _position(self) -> int:
        return self._base + self._at

    def _fill(self, count: int) -> None:
        """Have at least `count` bytes at hand."""
        if self._at + count <= len(self._data):
            return
        begin = self._position
        if begin + count > self._end:
            if self._end < self._size:
                raise self._wrong(f"has a head of more than {_MOST_HEAD_BYTES >> 20} MiB", _DAMAGED)
            raise self._wrong(f"ends at byte {self._size:,}, in the middle of its head", _DAMAGED)
        self._file.seek(begin)
        self._data, self._base, self._at = self._file.read(max(count, _WINDOW_BYTES)), begin, 0
        if len(self._data) < count:
            raise self._wrong("became shorter while it was read", "wait until it is written")

    def _take(self, count: int) -> bytes:
        self._fill(count)
        self._at += count
        return self._data[self._at - count : self._at]

    def _skip(self, count: int) -> None:
        self._at += count

    def _skip_texts(self, count: int) -> None:
        unpack: Callable[[bytes, int], tuple[int]] = _U64.unpack_from
        while count:
            self._fill(_U64.size)
            data, at, last = self._data, self._at, len(self._data) - _U64.size
            for _ in range(count):
                if at > last:
                    break
                at += unpack(data, at)[0] + 8
                count -= 1
            self._at = at

    def _number(self, number: struct.Struct) -> int:
        return int(number.unpack(self._take(number.size))[0])

    def _count(self, what: str, most: int) -> int:
        count = self._number(_U64)
        if count > most:
            raise self._wrong(f"claims {count:,} {what}", _DAMAGED)
        return count

    def _text(self, what: str, longest: int) -> str:
        length = self._number(_U64)
        if length > longest:
            raise self._wrong(f"claims {what} of {length:,} bytes", _DAMAGED)
        return self._take(length).decode("utf-8", "replace")

    def _wrong(self, what: str, fix: str) -> ModelError:
        return ModelError(f"{self._path} {what}; {fix}")


_DAMAGED = "it is damaged or incomplete: fetch it again"
