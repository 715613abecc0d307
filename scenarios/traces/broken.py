"""Broken rows, told by line: nothing in a trace is passed over in silence."""

from __future__ import annotations

import numpy as np

from scenarios.errors import Mistake, TraceError
from scenarios.lines import Lines
from scenarios.traces.digits import Flags

_LISTED = 5
_SHOWN = 60


def refuse(file: str, mistakes: list[Mistake]) -> None:
    """Raise TraceError for the first few of the mistakes, in order of line; nothing where there are none."""
    if not mistakes:
        return
    mistakes.sort(key=lambda mistake: mistake.line)
    listed = mistakes[:_LISTED]
    if more := len(mistakes) - len(listed):
        listed.append(Mistake(file, 0, f"and {more:,} more broken rows close by", ""))
    raise TraceError(tuple(listed))


def refuse_rows(file: str, lines: Lines, good: Flags, what: str, fix: str) -> None:
    """Raise TraceError for the lines that are not good; `{}` in `what` becomes the line's own text."""
    rows = np.flatnonzero(~good)
    refuse(file, [Mistake(file, int(lines.number[row]), what.format(shown(lines.raw(row))), fix) for row in rows])


def shown(raw: bytes) -> str:
    """A line or a field as text for a message, not too long."""
    text = raw.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
