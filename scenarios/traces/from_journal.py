"""An earlier run of ours as a trace: when its requests really were due, and the token counts that the server gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenarios.errors import JournalError, Mistake, TraceError
from scenarios.journal import JournalReader
from scenarios.traces.columns import Columns

_COUNTS = ("prompt_tokens", "completion_tokens")
_COUNTED = " AND ".join(f"COALESCE({column}, -1) BETWEEN 0 AND {2**31 - 1}" for column in _COUNTS)
_UNCOUNTED = "the server gave no token counts"


def add_rows(path: Path, columns: Columns, keep_failed: bool) -> None:
    """All of the journal. Raises TraceError where it cannot be read."""
    counts = ", ".join(f"IIF({_COUNTED}, {column}, 0)" for column in _COUNTS)
    wanted = "TRUE" if keep_failed else _COUNTED
    try:
        with JournalReader(path) as journal:
            columns.drop(_UNCOUNTED, journal.count("observation", f"NOT ({wanted})"))
            query = f"SELECT due_ns, {counts} FROM observation WHERE {wanted} ORDER BY idx"
            for rows in journal.blocks_of(query):
                values = np.array(rows, np.int64)
                columns.add(values[:, 0], values[:, 1].astype(np.int32), values[:, 2].astype(np.int32))
    except (JournalError, ValueError) as error:  # a ValueError: something else than a number stands in a column
        what = str(error).removeprefix(f"{path}: ")
        raise TraceError((Mistake(str(path), 0, what, "`seatrial runs` lists the runs"),)) from error
