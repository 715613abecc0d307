"""A dataset from a file: JSONL, CSV or Parquet, by the file's name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, overload

from scenarios.dataset.parquet_file import ParquetFile
from scenarios.dataset.row import DatasetRow, FieldError, Fields, row_of
from scenarios.dataset.text_file import BROKEN, CommaSeparated, JsonLines
from scenarios.errors import DatasetError, Mistake


class _File(Protocol):
    def __len__(self) -> int: ...
    def fields(self, row: int) -> Fields: ...
    def place(self, row: int) -> int: ...
    def drop(self, rows: Iterable[int]) -> None: ...


_KINDS: dict[str, Callable[[Path], _File]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".csv": CommaSeparated,
    ".parquet": ParquetFile,
}
_LISTED = 5


class Dataset(Sequence[DatasetRow]):
    """The rows of a file, each read when it is asked for: a million of them fit in memory.

    `digest`: SHA-256 of the file as hex. `answers`: whether any row says what the right answer is. `dropped`: how many
    recorded conversations were left out because nobody asks anything in them.
    """

    def __init__(self, file: _File, digest: str, answers: bool, dropped: int) -> None:
        self._file = file
        self.digest, self.answers, self.dropped = digest, answers, dropped

    def __len__(self) -> int:
        return len(self._file)

    @overload
    def __getitem__(self, at: int) -> DatasetRow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[DatasetRow, ...]: ...
    def __getitem__(self, at: int | slice) -> DatasetRow | tuple[DatasetRow, ...]:
        if isinstance(at, slice):
            return tuple(self[row] for row in range(*at.indices(len(self))))
        row = row_of(self._file.fields(range(len(self))[at]))
        assert row is not None  # read_dataset has seen them all
        return row


def read_dataset(path: Path) -> Dataset:
    """The dataset in a file. Every row is looked at once, so that none is found broken in the middle of a run.

    Raises DatasetError with the first broken rows, by line (Parquet: by row).
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        fix = f"give a file that ends in {', '.join(_KINDS)}; unpack it first if it is packed"
        raise DatasetError((Mistake(str(path), 0, f"is no dataset by its name ({path.suffix or 'no ending'})", fix),))
    file = kind(path)
    mistakes: list[Mistake] = []
    unasked: list[int] = []
    answers = False
    for at in range(len(file)):
        try:
            row = row_of(file.fields(at))
        except FieldError as error:
            mistakes.append(Mistake(str(path), file.place(at), error.what, error.fix))
        except BROKEN as error:
            fix = "every row is one JSON object" if kind is JsonLines else "docs/scenarios.md shows the columns"
            mistakes.append(Mistake(str(path), file.place(at), str(error), fix))
        else:
            if row is None:
                unasked.append(at)
            elif row.expected is not None:
                answers = True
        if len(mistakes) == _LISTED:
            break
    if mistakes:
        raise DatasetError(tuple(mistakes))
    file.drop(unasked)
    if not len(file):
        raise DatasetError((Mistake(str(path), 0, "holds no row that asks anything", "give a file with rows"),))
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Dataset(file, digest, answers, len(unasked))
