"""The saturation curve of a capacity search: a table of its probes, and rate against goodput and TTFT p95 as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from scenarios.report.layout import LABEL, pad, wrapped
from scenarios.report.words import NOTHING, seconds, share
from scenarios.result import Capacity, CapacityProbe

HEADS = ("#", "rate/s", "requests", "goodput", "TTFT p95", "ok/s", "backlog/s", "")
_WIDTHS = (2, 12, 8, 8, 9, 6, 9)
_NARROW = (0, 1, 3, 4, 6)  # the columns that fit a terminal of 60
_GUTTER = 9
_ROWS = 6  # of each of the two plots
_MOST_COLUMNS = 120
_WHOLE = 78  # columns of the whole table
_POINT, _BEYOND, _KNEE, _BOUND = "●", "▲", "│", "┄"


def headline(capacity: Capacity) -> str:
    """The capacity in a sentence, with what it means."""
    if capacity.rate is None:
        return capacity.why
    return (
        f"{_rate(capacity.rate)}/s, {capacity.confidence * 100:g} % interval {_rate(capacity.low)} to "
        f"{_rate(capacity.high)}/s: the highest steady rate at which {share(capacity.share)} of all requests "
        "meet the SLO and no backlog grows"
    )


def rows(capacity: Capacity) -> list[tuple[str, ...]]:
    """A row of HEADS for each probe."""
    return [_row(number, probe) for number, probe in enumerate(capacity.probes, 1)]


def lines(capacity: Capacity, width: int) -> Iterator[str]:
    """The section of the text report: the sentence, the table, the two plots."""
    for number, line in enumerate(wrapped(headline(capacity).rstrip("."), width - LABEL)):
        yield pad("" if number else "Capacity", LABEL) + line
    if not capacity.probes:
        return
    yield ""
    shown = range(len(_WIDTHS)) if width >= _WHOLE else _NARROW
    yield from (_line(row, shown) for row in (HEADS, *rows(capacity)))
    if len(capacity.curve) > 1:
        yield ""
        yield from plot(capacity, width)


def plot(capacity: Capacity, width: int) -> Iterator[str]:
    """Goodput from 0 to 100 %, and TTFT p95 from 0 to twice its SLO (or its largest), both over the rate from 0/s.

    The dashed line is what is asked for, `│` marks the capacity, `▲` lies above the scale. Each scale is straight
    above its bound and below it.
    """
    columns = min(width, _MOST_COLUMNS) - _GUTTER - 1
    most = max(point.rate for point in capacity.curve)
    most = max(most, capacity.rate or 0.0)
    knee = None if capacity.rate is None else _place(capacity.rate, most, columns)

    places = [_place(point.rate, most, columns) for point in capacity.curve]
    yield "goodput"
    good = [(place, point.goodput) for place, point in zip(places, capacity.curve, strict=True)]
    yield from _plot(good, capacity.share, 1.0, columns, knee, share)
    yield "TTFT p95"
    waits = [(place, p) for place, point in zip(places, capacity.curve, strict=True) if (p := point.ttft_p95_s)]
    bound = capacity.slo_ttft_s or max((wait for _, wait in waits), default=1.0)
    yield from _plot(waits, bound, 2 * bound, columns, knee, seconds)
    yield from _axis(most, knee, capacity.rate, columns)


def _plot(
    points: Sequence[tuple[int, float]],
    bound: float,
    top: float,
    columns: int,
    knee: int | None,
    say: Callable[[float], str],
) -> Iterator[str]:
    """One plot, from `top` in its first line to 0 in its last; the bound has a line of its own."""
    bound_row = min(max(round((1 - bound / top) * (_ROWS - 1)), 1), _ROWS - 2)
    labels = {0: top, bound_row: bound, _ROWS - 1: 0.0}
    for row in range(_ROWS):
        cells = [_BOUND if row == bound_row else " "] * columns
        if knee is not None:
            cells[knee] = _KNEE
        for column, value in points:
            if _row_of(value, top, bound, bound_row) == row:
                cells[column] = _BEYOND if value > top else _POINT
        label = say(labels[row]) if row in labels else ""
        yield f"{label:>{_GUTTER - 1}} {'┤' if label else '│'}{''.join(cells).rstrip()}"


def _row_of(value: float, top: float, bound: float, bound_row: int) -> int:
    """The row of a value on a scale that is straight above the bound and below it; off the bound is off its line."""
    if value > bound:
        return min(round((1 - (min(value, top) - bound) / (top - bound)) * bound_row), bound_row - 1)
    below = _ROWS - 1 - bound_row
    return bound_row if value == bound else max(_ROWS - 1 - round(value / bound * below), bound_row + 1)


def _axis(most: float, knee: int | None, rate: float | None, columns: int) -> Iterator[str]:
    """The line under the plots, and below it where the rate is 0, the capacity, and the highest that was tried."""
    marks = "".join("┴" if column == knee else "─" for column in range(columns))
    yield f"{'':>{_GUTTER}}└{marks}"
    end = f"{_rate(most)}/s"
    words = list("0".ljust(columns))
    words[columns - len(end) :] = end
    if knee is not None:
        word = f"{_rate(rate)}/s"
        start = min(max(knee - len(word) // 2, 2), columns - len(word))
        if start + len(word) > columns - len(end) - 1:
            words[columns - len(end) :] = " " * len(end)  # the capacity says more than the end of the scale
        words[start : start + len(word)] = word
    yield f"{'':>{_GUTTER + 1}}{''.join(words).rstrip()}"


def _place(rate: float, most: float, columns: int) -> int:
    return round(rate / most * (columns - 1)) if most > 0 else 0


def _row(number: int, probe: CapacityProbe) -> tuple[str, ...]:
    rate = _rate(probe.rate) if probe.kind == "steady" else f"{_rate(probe.rate)} to {_rate(probe.end_rate)}"
    return (
        str(number),
        rate,
        f"{probe.due:,}",
        share(probe.goodput),
        seconds(probe.ttft_p95_s),
        _rate(probe.completion_rate),
        f"{probe.backlog_per_s:+.2f}",
        "✓ holds" if probe.holds else "✗ does not",
    )


def _line(row: Sequence[str], shown: Iterable[int]) -> str:
    cells = (pad(row[at], _WIDTHS[at], right=True) for at in shown)
    return f"{'  '.join(cells)}  {row[-1]}".rstrip()


def _rate(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"
