"""An earlier run of ours as a trace: when its requests really were due, and the token counts that the server gave."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from scenarios.errors import JournalError, Mistake, TraceError
from scenarios.journal import JournalReader
from scenarios.traces.columns import Columns

_ROWS = 1 << 14
_UNCOUNTED = "the server gave no token counts"


def add_rows(path: Path, columns: Columns, keep_failed: bool) -> None:
    """All of the journal. Raises TraceError where it cannot be read."""
    try:
        with JournalReader(path) as journal:
            observed = ((o.due_ns, o.prompt_tokens, o.completion_tokens) for o in journal.observations())
            while rows := list(islice(observed, _ROWS)):
                counted = [row for row in rows if keep_failed or None not in row]
                columns.drop(_UNCOUNTED, len(rows) - len(counted))
                values = np.array([[value or 0 for value in row] for row in counted], np.int64).reshape(-1, 3)
                columns.add(values[:, 0], values[:, 1].astype(np.int32), values[:, 2].astype(np.int32))
    except JournalError as error:
        what = str(error).removeprefix(f"{path}: ")
        raise TraceError((Mistake(str(path), 0, what, "`seatrial runs` lists the runs"),)) from error
