"""Rows of a Parquet file, with pyarrow: the columns that are needed are held as they are stored, not as objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scenarios.dataset.row import Fields
from scenarios.errors import DatasetError, Mistake


class ParquetFile:
    """The rows of a Parquet file, by number."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            what, fix = "reading Parquet needs pyarrow, which is not installed", "pip install 'seatrial[parquet]'"
            raise DatasetError((Mistake(str(path), 0, what, fix),)) from error
        try:
            names = parquet.read_schema(path).names
            self._table: Any = parquet.read_table(path, columns=[name for name in names if name in _KNOWN])
        except (OSError, pyarrow.ArrowException) as error:
            what = f"cannot be read as Parquet ({str(error).splitlines()[0]})"
            raise DatasetError((Mistake(str(path), 0, what, "check the path and the file"),)) from error
        self._row = np.arange(self._table.num_rows)

    def __len__(self) -> int:
        return len(self._row)

    def fields(self, row: int) -> Fields:
        """The fields of a row. Raises msgspec.ValidationError for one that is broken."""
        stored = int(self._row[row])
        values = {name: self._table.column(name)[stored].as_py() for name in self._table.column_names}
        return msgspec.convert({name: value for name, value in values.items() if value is not None}, Fields)

    def place(self, row: int) -> int:
        """The number of a row in the file, from 1."""
        return int(self._row[row]) + 1

    def drop(self, rows: Iterable[int]) -> None:
        """Leave these rows out from now on."""
        self._row = np.delete(self._row, list(rows))


_KNOWN = frozenset(msgspec.structs.fields(Fields)[at].encode_name for at in range(len(Fields.__struct_fields__)))
