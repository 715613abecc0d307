"""Rows of a JSONL or CSV file: where each begins is kept, and a row is read from the file when it is asked for."""

from __future__ import annotations

import csv
import io
import os
import threading
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from scenarios.dataset.row import Fields
from scenarios.errors import DatasetError, Mistake
from scenarios.lines import BACK, FRONT, Ints, pieces

_LONGEST_FIELD = 1 << 26
_QUOTE = ord('"')
_BOM = b"\xef\xbb\xbf"

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, csv.Error, RecursionError)
"""What `fields` raises for a row that is broken; RecursionError for JSON nested without end."""


class TextFile(ABC):
    """The rows of a text file, by number. Subclasses say where rows end and how one is decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = _opened(path)
        weakref.finalize(self, self._file.close)
        self._state = self._now()
        self._start, self._end = array("q"), array("q")  # of each row, bytes from the beginning of the file
        self._line = array("q")
        self._find()

    def __len__(self) -> int:
        return len(self._start)

    def fields(self, row: int) -> Fields:
        """The fields of a row. Raises one of BROKEN, DatasetError where the file is no longer what was opened."""
        with self._lock:
            self._file.seek(self._start[row])
            raw = self._file.read(self._end[row] - self._start[row])
            if self._now() != self._state:
                what, fix = "was changed while it was in use", "put it back and start over; a copy may be changed"
                raise DatasetError((Mistake(str(self.path), 0, what, fix),))
        return self._decode(raw)

    def place(self, row: int) -> int:
        """The line at which a row begins, from 1."""
        return self._line[row]

    def drop(self, rows: Iterable[int]) -> None:
        """Leave these rows out from now on."""
        keep = np.ones(len(self), np.bool_)
        keep[list(rows)] = False
        self._start, self._end, self._line = (
            array("q", np.frombuffer(column, np.int64)[keep].tobytes())
            for column in (self._start, self._end, self._line)
        )

    def _now(self) -> tuple[int, int]:
        """Size and time of the last change of the file that was opened, whatever bears its name by now."""
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns

    @abstractmethod
    def _find(self) -> None:
        """Add every row. Raises DatasetError for a file that is not of this kind."""

    @abstractmethod
    def _decode(self, raw: bytes) -> Fields:
        """The fields of a row's text. Raises one of BROKEN."""

    def _add(self, start: Ints, end: Ints, line: Ints) -> None:
        for column, values in ((self._start, start), (self._end, end), (self._line, line)):
            column.frombytes(values.astype(np.int64, copy=False).tobytes())


class JsonLines(TextFile):
    """A JSON object a line."""

    def _find(self) -> None:
        base = -FRONT
        for lines in pieces(self.path, DatasetError):
            self._add(lines.start + base, lines.end + base, lines.number)
            base += len(lines.data) - FRONT - BACK

    def _decode(self, raw: bytes) -> Fields:
        return _json.decode(raw.removeprefix(_BOM))


class CommaSeparated(TextFile):
    """RFC 4180: a header, then rows; a quoted field may hold commas, newlines and doubled quotes."""

    def _find(self) -> None:
        base, quotes = -FRONT, 0
        for lines in pieces(self.path, DatasetError):
            places = np.flatnonzero(lines.text == _QUOTE)
            # after an odd number of quotes a field is open, and a newline is part of it
            opens = (quotes + np.searchsorted(places, lines.start)) % 2 == 0
            closes = (quotes + np.searchsorted(places, lines.end)) % 2 == 0
            self._add(lines.start[opens] + base, lines.end[closes] + base, lines.number[opens])
            base += len(lines.data) - FRONT - BACK
            quotes += len(places)
        if quotes % 2:
            what = "a quote that is opened in this row is never closed"
            raise DatasetError(
                (Mistake(str(self.path), self._line[-1], what, "close it, or double it to mean itself"),)
            )
        self._header: list[str] = []
        if len(self):
            with self.path.open("rb") as file:
                self._header = _fields_of(file.read(self._end[0]).removeprefix(_BOM))
            self._header = [name.strip().lower() for name in self._header]
            del self._start[0], self._end[0], self._line[0]

    def _decode(self, raw: bytes) -> Fields:
        values = _fields_of(raw)
        if len(values) != len(self._header):
            raise csv.Error(f"{len(values)} fields, and the header names {len(self._header)}")
        row: dict[str, object] = {name: value for name, value in zip(self._header, values, strict=True) if value}
        for name in _NESTED:
            if name in row:
                try:
                    row[name] = msgspec.json.decode(str(row[name]))
                except msgspec.DecodeError as error:
                    raise csv.Error(f"{name} is not JSON: {error}") from error
        return msgspec.convert(row, Fields, strict=False)


def _opened(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise DatasetError((Mistake(str(path), 0, what, "check the path and the file"),)) from error


def _fields_of(raw: bytes) -> list[str]:
    csv.field_size_limit(_LONGEST_FIELD)
    return next(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))


_json = msgspec.json.Decoder(Fields)
_NESTED = ("messages", "conversations", "body")  # columns that hold JSON
