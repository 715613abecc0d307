"""A line chart in braille on a fixed scale: values in, lines of text out. Pure.

The scale is the caller's and never the data's own, so a flat series looks flat. What lies above it is clipped and
marked with a triangle; a gap in the data stays a gap. A cell holds two columns of four dots; without Unicode, one mark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from console.tui.paint import Line, Role, Span
from console.tui.units import clock

GAP = math.nan
GUTTER = 5  # cells of the scale's labels, with the axis
_DOTS = ((0x40, 0x80), (0x04, 0x20), (0x02, 0x10), (0x01, 0x08))  # rows from the bottom, then left and right


@dataclass(frozen=True, slots=True)
class Trace:
    """One series, a value for each column of dots; NaN where there is none. `filled`: down to zero."""

    values: Sequence[float]
    role: Role = Role.FIRST
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """The fixed scale: 0..`top`, with a line at `limit`; `labels` are those of the top and of the limit."""

    top: float
    limit: float | None = None
    labels: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Window:
    """The shared time axis in seconds, and the fault bands on it."""

    start_s: float
    end_s: float
    bands: Sequence[tuple[float, float]] = ()

    def column(self, t_s: float, columns: int) -> int:
        """The column of `columns` in which `t_s` lies; the ends hold what is outside."""
        share = (t_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)
        return min(max(int(share * columns), 0), columns - 1)


def sample(times: Sequence[float], values: Sequence[float | None], window: Window, dots: int) -> list[float]:
    """One value a column: the largest that falls into it; columns between two neighbours are filled in between.

    Columns next to a missing value stay empty, so a gap of the data stays visible.
    """
    columns = [GAP] * dots
    before: tuple[int, float] | None = None
    for t_s, value in zip(times, values, strict=True):
        if value is None or not math.isfinite(value):
            before = None
            continue
        if not window.start_s <= t_s <= window.end_s:
            continue
        column = window.column(t_s, dots)
        here = columns[column]
        columns[column] = value if math.isnan(here) else max(here, value)
        if before is not None and column - before[0] > 1:
            step = (value - before[1]) / (column - before[0])
            for between in range(before[0] + 1, column):
                columns[between] = before[1] + step * (between - before[0])
        before = (column, value)
    return columns


def plot(
    traces: Sequence[Trace], scale: Scale, window: Window, cells: int, rows: int, *, ascii_only: bool = False
) -> list[Line]:
    """The bare chart, `rows` lines of exactly `cells` cells; later traces lie on top."""
    if cells <= 0 or rows <= 0:
        return []
    bits = [[0] * cells for _ in range(rows)]
    roles = [[Role.FIRST] * cells for _ in range(rows)]
    clipped: set[int] = set()
    for trace in traces:
        _draw(trace, scale.top, bits, roles, clipped)
    banded = {
        x for start, end in window.bands for x in range(window.column(start, cells), window.column(end, cells) + 1)
    }
    limit_row = None if scale.limit is None else rows - 1 - min(int(scale.limit / scale.top * rows), rows - 1)
    out: list[Line] = []
    for y in range(rows):
        spans: list[Span] = []
        for x in range(cells):
            if y == 0 and x in clipped:
                glyph, role = "^" if ascii_only else "▲", Role.BAD
            elif bits[y][x]:
                glyph, role = _glyph(bits[y][x], ascii_only), roles[y][x]
            elif y == limit_row:
                glyph, role = "-" if ascii_only else "╌", Role.LIMIT
            elif x in banded:
                glyph, role = ":" if ascii_only else "░", Role.BAND
            else:
                glyph, role = " ", Role.TEXT
            if spans and spans[-1].role == role:
                spans[-1] = Span(spans[-1].text + glyph, role)
            else:
                spans.append(Span(glyph, role))
        out.append(tuple(spans))
    return out


def framed(
    traces: Sequence[Trace], scale: Scale, window: Window, cells: int, rows: int, *, ascii_only: bool = False
) -> list[Line]:
    """The chart with its scale to the left and, from five rows on, the time below; `rows` lines in all."""
    timed = rows >= 5
    inner, height = cells - GUTTER, rows - timed
    if inner < 4 or height < 1:
        return []
    body = plot(traces, scale, window, inner, height, ascii_only=ascii_only)
    limit_row = -1 if scale.limit is None else height - 1 - min(int(scale.limit / scale.top * height), height - 1)
    bar = "|" if ascii_only else "│"
    out: list[Line] = []
    for y, spans in enumerate(body):
        role, label = Role.DIM, ""
        if y == limit_row:
            role, label = Role.LIMIT, scale.labels[1]
        elif y == 0:
            label = scale.labels[0]
        elif y == height - 1:
            label = "0"
        out.append((Span(f"{label[: GUTTER - 1]:>{GUTTER - 1}}", role), Span(bar, Role.RULE), *spans))
    if timed:
        out.append((Span(" " * GUTTER), Span(_time_axis(window, inner), Role.DIM)))
    return out


def dots(cells: int) -> int:
    """Columns of dots of a framed chart that is `cells` wide."""
    return max(cells - GUTTER, 0) * 2


def _draw(trace: Trace, top: float, bits: list[list[int]], roles: list[list[Role]], clipped: set[int]) -> None:
    rows, cells = len(bits), len(bits[0])
    steps = rows * 4 - 1
    before = -1
    for x, value in enumerate(trace.values[: cells * 2]):
        if math.isnan(value):
            before = -1
            continue
        if value > top:
            clipped.add(x // 2)
        y = min(max(round(value / top * steps), 0), steps)
        low, high = (0, y) if trace.filled else (min(y, before) if before >= 0 else y, max(y, before))
        for dot in range(low, high + 1):
            row = rows - 1 - dot // 4
            bits[row][x // 2] |= _DOTS[dot % 4][x % 2]
            roles[row][x // 2] = trace.role
        before = y


def _glyph(bits: int, ascii_only: bool) -> str:
    if not ascii_only:
        return chr(0x2800 + bits)
    upper, lower = bits & 0x1B, bits & 0xE4
    return ":" if upper and lower else "'" if upper else "."


def _time_axis(window: Window, cells: int) -> str:
    """Start, middle and end of the time axis, in `cells` cells; the middle only where there is room."""
    start, end = clock(window.start_s), clock(window.end_s)
    if cells < len(start) + len(end) + 1:
        return end.rjust(cells)[:cells]
    middle = clock((window.start_s + window.end_s) / 2)
    text = start + end.rjust(cells - len(start))
    if cells >= len(start) + len(end) + len(middle) + 6:
        at = cells // 2 - len(middle) // 2
        text = text[:at] + middle + text[at + len(middle) :]
    return text
