"""A trace from a file: its kind is found from how the file begins."""

from __future__ import annotations

import hashlib
from pathlib import Path

from scenarios.errors import Mistake, TraceError
from scenarios.lines import pieces
from scenarios.traces import azure, mooncake
from scenarios.traces.broken import shown
from scenarios.traces.columns import Columns
from scenarios.traces.table import header_of, require, split
from scenarios.traces.trace import Trace, TraceKind

AUTO = "auto"


def read_trace(path: Path, kind: str = AUTO) -> Trace:
    """The trace in a file, plain or gzip. Reads a million rows in a second or so, in memory for the numbers alone.

    `kind`: a TraceKind, or "auto" to find it from the header or the first line. Raises TraceError.
    """
    columns = Columns()
    file = str(path)
    header: tuple[str, ...] = ()
    found = None if kind == AUTO else TraceKind(kind)
    for lines in pieces(path, TraceError):
        if not len(lines):
            continue
        if found is None or (found is TraceKind.AZURE and not header):
            first = lines.raw(0)
            if found is None:
                found = _kind_of(file, first)
            if found is TraceKind.AZURE:
                header = header_of(first)
                require(file, header, azure.COLUMNS)
                lines = lines.after(1)
        if found is TraceKind.MOONCAKE:
            mooncake.add_rows(file, lines, columns)
        else:
            azure.add_rows(split(file, header, lines), columns)
    assert found is not None
    return columns.trace(found, path, _digest(path), mooncake.BLOCK_TOKENS if found is TraceKind.MOONCAKE else 0)


def _kind_of(file: str, first: bytes) -> TraceKind:
    if first.lstrip().startswith(b"{"):
        return TraceKind.MOONCAKE
    if set(azure.COLUMNS) <= set(header_of(first)):
        return TraceKind.AZURE
    raise TraceError((Mistake(file, 1, f"not the beginning of a known trace: {shown(first)}", "name its kind"),))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
