"""Comma-separated lines split into fields, all lines of a piece at once. These formats know no quoted fields."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from scenarios.errors import Mistake, TraceError
from scenarios.lines import Ints, Lines
from scenarios.traces.broken import refuse, refuse_rows, shown
from scenarios.traces.digits import POWERS, Flags, whole
from scenarios.traces.trace import NANO, Int32s

_COMMA, _POINT = b",."
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_FARTHEST = 9_000_000_000  # seconds that fit in 64 bits of ns


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a piece: field j of row i is `lines.text[start[i, j]:end[i, j]]`."""

    file: str
    header: tuple[str, ...]
    lines: Lines
    start: Ints
    end: Ints

    def field(self, column: str) -> tuple[Ints, Ints]:
        """Starts and ends of a column's fields."""
        at = self.header.index(column)
        return self.start[:, at], self.end[:, at]

    def raw(self, row: int | np.int64, column: str) -> bytes:
        at = self.header.index(column)
        return self.lines.data[self.start[row, at] : self.end[row, at]]

    def refuse(self, column: str, good: Flags, what: str, fix: str) -> None:
        """Raise TraceError for the rows whose field is not good."""
        mistakes = []
        for row in np.flatnonzero(~good):
            told = f"{column} {shown(self.raw(row, column))} {what}"
            mistakes.append(Mistake(self.file, int(self.lines.number[row]), told, fix))
        refuse(self.file, mistakes)

    def counts(self, column: str) -> Int32s:
        """A column of whole numbers from 0 to 2^31 - 1."""
        value, good = whole(self.lines.words, *self.field(column))
        good &= value < 2**31
        self.refuse(column, good, "is no count of tokens", "write a whole number from 0 up")
        return value.astype(np.int32)

    def seconds_ns(self, column: str) -> Ints:
        """A column of seconds, as ns; what is finer is rounded to the nearest (half up)."""
        start, end = self.field(column)
        points = np.flatnonzero(self.lines.text == _POINT)
        point = np.concatenate((points, [len(self.lines.text)]))[np.searchsorted(points, start)]
        point = np.minimum(point, end)
        value, good = whole(self.lines.words, start, point)
        good &= value < _FARTHEST
        value = np.where(good, value, 0) * NANO
        if (broken := point < end).any():
            digits = np.where(broken, end - point - 1, 9)
            part, fine = whole(self.lines.words, np.where(broken, point + 1, start), np.where(broken, end, point))
            finer = np.clip(digits - 9, 0, 7)
            part = (part * POWERS[np.clip(9 - digits, 0, 9)] + POWERS[finer] // 2) // POWERS[finer]
            value = np.where(broken, value + part, value)
            good &= fine | ~broken
        for row in np.flatnonzero(~good):  # written in another way, such as 1e-05, or with very many digits
            nanos = _exactly_ns(self.raw(row, column))
            if nanos is not None:
                value[row], good[row] = nanos, True
        self.refuse(column, good, "is no number of seconds", "write seconds such as 12.5")
        return value


def _exactly_ns(raw: bytes) -> int | None:
    text = raw.decode("ascii", "replace")
    if not _NUMBER.fullmatch(text):
        return None
    seconds = Fraction(text)
    return math.floor(seconds * NANO + Fraction(1, 2)) if abs(seconds) < _FARTHEST else None


def header_of(line: bytes) -> tuple[str, ...]:
    """Names of the columns, in lower case."""
    return tuple(name.strip().strip('"').lower() for name in line.decode("utf-8-sig", "replace").split(","))


def split(file: str, header: tuple[str, ...], lines: Lines) -> Table:
    """The fields of the lines. Raises TraceError for lines with more or fewer fields than the header."""
    commas = np.flatnonzero(lines.text == _COMMA)
    first, last = np.searchsorted(commas, lines.start), np.searchsorted(commas, lines.end)
    what = f"not {len(header)} fields: {{}}"
    refuse_rows(file, lines, last - first == len(header) - 1, what, f"the header names {', '.join(header)}")
    between = commas[np.add.outer(first, np.arange(len(header) - 1))]
    start = np.column_stack((lines.start, between + 1))
    end = np.column_stack((between, lines.end))
    return Table(file, header, lines, start, end)


def require(file: str, header: tuple[str, ...], needed: tuple[str, ...]) -> None:
    """Raise TraceError where the header lacks a column."""
    if missing := [name for name in needed if name not in header]:
        what = f"the header has no column {' and no '.join(missing)}"
        raise TraceError((Mistake(file, 1, what, f"it needs {', '.join(needed)}"),))
