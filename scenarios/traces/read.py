"""A trace from a file: its kind is found from how the file begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from scenarios.errors import Mistake, TraceError
from scenarios.lines import Lines, pieces
from scenarios.traces import azure, burstgpt, from_journal, mooncake
from scenarios.traces.broken import shown
from scenarios.traces.columns import Columns
from scenarios.traces.table import Table, header_of, require, split
from scenarios.traces.trace import Trace, TraceKind

AUTO = "auto"
_SQLITE = b"SQLite format 3\0"
_TABLES = {TraceKind.AZURE: azure.COLUMNS, TraceKind.BURSTGPT: burstgpt.COLUMNS}


def read_trace(path: Path, kind: str = AUTO, keep_failed: bool = False) -> Trace:
    """The trace in a file, plain or gzip. A million rows take a second or so, and memory for their numbers alone.

    `kind`: a TraceKind, or "auto" to find it from the first line. `keep_failed`: keep requests that failed when they
    were recorded, of which the length of the answer (in a journal: also of the prompt) is 0 then. Raises TraceError.
    """
    if kind != AUTO and kind not in tuple(TraceKind):
        what = f"there are no traces of kind {kind!r}"
        raise TraceError((Mistake(str(path), 0, what, f"write one of {', '.join((AUTO, *TraceKind))}"),))
    columns = Columns()
    if kind == TraceKind.JOURNAL or (kind == AUTO and _begins(path) == _SQLITE):
        from_journal.add_rows(path, columns, keep_failed)
        return columns.trace(TraceKind.JOURNAL, path, _digest(path))
    found, add = None, None
    for lines in pieces(path, TraceError):
        if add is None and len(lines):
            found = TraceKind(kind) if kind != AUTO else _kind_of(str(path), lines.raw(0))
            if found is TraceKind.MOONCAKE:
                add = _mooncake(str(path), columns)
            else:
                add = _table(str(path), found, header_of(lines.raw(0)), columns, keep_failed)
                lines = lines.after(1)
        if add is not None and len(lines):
            add(lines)
    if found is None:
        raise TraceError((Mistake(str(path), 0, "is empty", "give a file with rows"),))
    return columns.trace(found, path, _digest(path), mooncake.BLOCK_TOKENS if found is TraceKind.MOONCAKE else 0)


def _mooncake(file: str, columns: Columns) -> Callable[[Lines], None]:
    return lambda lines: mooncake.add_rows(file, lines, columns)


def _table(
    file: str, kind: TraceKind, header: tuple[str, ...], columns: Columns, keep_failed: bool
) -> Callable[[Lines], None]:
    require(file, header, _TABLES[kind])

    def add(lines: Lines) -> None:
        table: Table = split(file, header, lines)
        if kind is TraceKind.AZURE:
            azure.add_rows(table, columns)
        else:
            burstgpt.add_rows(table, columns, keep_failed)

    return add


def _kind_of(file: str, first: bytes) -> TraceKind:
    """What the first line is the beginning of."""
    if first.lstrip().startswith(b"{"):
        return TraceKind.MOONCAKE
    header = set(header_of(first))
    for kind, needed in _TABLES.items():
        if set(needed) <= header:
            return kind
    known = "; ".join(", ".join(needed) for needed in _TABLES.values())
    fix = f"it begins with a header ({known}) or with a JSON object of a Mooncake trace"
    raise TraceError((Mistake(file, 1, f"is not how a trace begins: {shown(first)}", fix),))


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE))
    except OSError:
        return b""  # said by who reads it


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
