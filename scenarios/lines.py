"""Text files in pieces of whole lines, as arrays of bytes: a file of any size is read in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenarios.errors import DefinitionErrors, Mistake

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

FRONT, BACK = 16, 32  # bytes around the text, so that those before and after any place exist
_PIECE = 1 << 19  # small enough for a core's cache: larger pieces are slower
_LONGEST = 1 << 26
_NEWLINE, _RETURN = 10, 13


@dataclass(frozen=True)
class Lines:
    """Some consecutive lines. `text[start[i]:end[i]]` is line i without its end; blank lines are left out.

    `data`: the bytes behind `text`, FRONT and BACK spaces around the lines. `number`: 1-based numbers of the lines.
    """

    data: bytes
    start: Ints
    end: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def text(self) -> Bytes:
        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def words(self) -> Words:
        """At each place the eight bytes from there, as one little-endian number."""
        return np.ndarray((len(self.data) - 7,), np.dtype("<u8"), self.data, strides=(1,))

    def raw(self, row: int | np.int64) -> bytes:
        return self.data[self.start[row] : self.end[row]]

    def after(self, count: int) -> Lines:
        """Without the first `count` lines."""
        return Lines(self.data, self.start[count:], self.end[count:], self.number[count:])


def pieces(path: Path, refusal: type[DefinitionErrors], piece: int = _PIECE) -> Iterator[Lines]:
    """The lines of a file, plain or gzip, about `piece` bytes at a time. Raises `refusal` where it cannot be read."""
    number = 1
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            rest = b""
            while block := file.read(piece):
                cut = block.rfind(b"\n") + 1
                if not cut:
                    rest += block
                    if len(rest) > _LONGEST:
                        what = f"a line is longer than {_LONGEST >> 20} MiB"
                        raise refusal((Mistake(str(path), number, what, "is this a text file?"),))
                    continue
                lines, number = _lines((rest, block[:cut]), number)
                rest = block[cut:]
                yield lines
            if rest:
                yield _lines((rest, b"\n"), number)[0]
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refusal((Mistake(str(path), 0, f"cannot be read ({reason})", "check the path and the file"),)) from error


def _lines(parts: tuple[bytes, bytes], number: int) -> tuple[Lines, int]:
    """The lines of a piece that ends with a newline, and the number of the one after them."""
    data = b"".join((b" " * FRONT, *parts, b" " * BACK))
    text = np.frombuffer(data, np.uint8)
    newline = np.flatnonzero(text == _NEWLINE)
    start = np.concatenate(([FRONT], newline[:-1] + 1))
    end = newline - (text[newline - 1] == _RETURN)
    end = np.maximum(end, start)
    numbers = np.arange(number, number + len(newline))
    if (full := end > start).all():
        return Lines(data, start, end, numbers), number + len(newline)
    return Lines(data, start[full], end[full], numbers[full]), number + len(newline)
