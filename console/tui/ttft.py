"""TTFT: percentiles now and over the run against the SLO, and their course on a scale that the SLO fixes."""

from __future__ import annotations

from console.tui.chart import Scale, Trace, Window, dots, framed, sample
from console.tui.paint import Drawing, Line, Role, Span, line
from console.tui.snapshot import Snapshot
from console.tui.units import ceiling, known, seconds
from scenarios.tick import Quantiles, Tick

TOP = 2.5  # the chart shows 0..2.5 times the SLO


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """A small table of p50, p95, p99, then p95 (line) over p50 (area)."""
    tick = snapshot.tick
    if tick is None:
        return Drawing((line(("nothing measured yet", Role.DIM)),), "TTFT (s)")
    slo = tick.slo_ttft_s
    column = 6 if cells < 36 else 8
    label = max(cells - 3 * column, 5) if cells < 36 else 10
    head = [
        _row("", ["p50", "p95", "p99"], [Role.SECOND, Role.FIRST, Role.DIM], label, column),
        _quantiles("10 s", tick.ttft, slo, label, column),
        _quantiles("run", tick.ttft_all, slo, label, column),
        _quantiles("ITL", tick.itl, None, label, column),
    ]
    chart = _chart(snapshot, slo, cells, rows - len(head), ascii_only)
    return Drawing(tuple(head + chart)[:rows], "TTFT (s)", _against(tick))


def _against(tick: Tick) -> str:
    slo, p95 = tick.slo_ttft_s, tick.ttft.p95
    if slo is None:
        return "no SLO"
    word = "" if p95 is None or not known(p95) else " ✓ met" if p95 <= slo else " ✗ over"
    return f"SLO {seconds(slo)}{word}"


def _row(label: str, values: list[str], roles: list[Role], label_cells: int, column: int) -> Line:
    cells = [Span(f"{value:>{column}}", role) for value, role in zip(values, roles, strict=True)]
    return (Span(f"{label:<{label_cells}}", Role.DIM), *cells)


def _quantiles(label: str, q: Quantiles, slo: float | None, label_cells: int, column: int) -> Line:
    values = [q.p50, q.p95, q.p99]
    over = slo is not None and q.p95 is not None and q.p95 > slo
    roles = [Role.TEXT, Role.BAD if over else Role.TEXT, Role.TEXT]
    return _row(label, [seconds(v) for v in values], roles, label_cells, column)


def _chart(snapshot: Snapshot, slo: float | None, cells: int, rows: int, ascii_only: bool) -> list[Line]:
    if rows < 2:
        return []
    points = snapshot.points
    if slo:
        scale = Scale(TOP * slo, slo, (f"{TOP * slo:g}"[:4], "SLO"))
    else:
        top = ceiling(max((p.ttft_p95 or 0.0 for p in points), default=1.0))
        scale = Scale(top, None, (f"{top:g}"[:4], ""))
    window = Window(0.0, snapshot.end_s, [(band.start_s, band.end_s) for band in snapshot.bands])
    times = [p.t_s for p in points]
    traces = [
        Trace(sample(times, [p.ttft_p50 for p in points], window, dots(cells)), Role.SECOND, filled=True),
        Trace(sample(times, [p.ttft_p95 for p in points], window, dots(cells)), Role.FIRST),
    ]
    return framed(traces, scale, window, cells, rows, ascii_only=ascii_only)
