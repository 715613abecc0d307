"""BurstGPT traces: Timestamp (s), Model, Request tokens, Response tokens, Total tokens, Log Type; the third also
Session ID and Elapsed time.

HPMLL/BurstGPT, CC-BY 4.0; Wang et al., BurstGPT (KDD 2025). A response of 0 tokens is a request that failed there.
"""

from __future__ import annotations

import numpy as np

from scenarios.traces.columns import NO_SESSION, Columns
from scenarios.traces.table import Table
from scenarios.traces.trace import Int64s

COLUMNS = ("timestamp", "request tokens", "response tokens")
_SESSION = "session id"
_FAILED = "the request failed (0 response tokens)"


def add_rows(table: Table, columns: Columns, keep_failed: bool) -> None:
    """A piece of the file. Raises TraceError for a row with a broken time or count."""
    at_ns = table.seconds_ns("timestamp")
    prompt, output = table.counts("request tokens"), table.counts("response tokens")
    session = _sessions(table) if _SESSION in table.header else None
    if not keep_failed and not (served := output > 0).all():
        columns.drop(_FAILED, int(np.count_nonzero(~served)))
        at_ns, prompt, output = at_ns[served], prompt[served], output[served]
        session = None if session is None else session[served]
    columns.add(at_ns, prompt, output, session)


def _sessions(table: Table) -> Int64s:
    """A number for each row's session: the hash of its id, whatever that looks like, so that ids need not be kept."""
    start, end = table.field(_SESSION)
    data = table.lines.data
    ids = [data[first:last] for first, last in zip(start.tolist(), end.tolist(), strict=True)]
    keys = np.fromiter((hash(name) for name in ids), np.int64, len(ids))
    return np.where(start < end, keys, NO_SESSION)
