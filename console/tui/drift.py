"""Drift: how far the newest input is from the reference, whether that is an alarm, and what it does to the accuracy."""

from __future__ import annotations

from console.tui.chart import Scale, Trace, Window, dots, framed, sample
from console.tui.paint import Drawing, Line, Role, flow, line
from console.tui.snapshot import Snapshot
from console.tui.units import NONE, percent
from scenarios.tick import DriftSample


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """Numbers, then the score over the run on a fixed scale."""
    sample_now = snapshot.tick.drift if snapshot.tick else None
    if sample_now is None:
        text = "no drift measured here" if snapshot.tick else "nothing measured yet"
        return Drawing((line((text, Role.DIM)),), "Drift")
    head = _numbers(sample_now, cells)
    chart = _chart(snapshot, cells, rows - len(head), ascii_only)
    return Drawing(tuple(head + chart)[:rows], "Drift", _word(sample_now))


def _numbers(drift: DriftSample, cells: int) -> list[Line]:
    p_value = NONE if drift.p_value is None else "<.001" if drift.p_value < 0.001 else f"{drift.p_value:.3f}"
    score = NONE if drift.score is None else f"{drift.score:.2f}"
    before, now = drift.accuracy_reference, drift.accuracy_recent
    worse = before is not None and now is not None and now < before - 0.05
    role = Role.BAD if drift.alarm else Role.DIM if drift.score is None else Role.GOOD
    accuracy = line(
        ("accuracy ", Role.DIM),
        percent(before),
        (" → ", Role.DIM),
        (percent(now), Role.BAD if worse else Role.TEXT),
        (" %", Role.DIM),
    )
    chips = [
        line(("score ", Role.FIRST), (score, Role.STRONG)),
        line(("p ", Role.DIM), p_value),
        *([line((_word(drift), role))] if cells >= 30 else []),
        accuracy,
        line(("era B ", Role.DIM), percent(drift.era_b_share), (" %", Role.DIM)),
    ]
    return flow(chips, cells, 3, "   " if cells >= 36 else "  ")


def _word(drift: DriftSample) -> str:
    return "▲ ALARM" if drift.alarm else "○ too little yet" if drift.score is None else "✓ steady"


def _chart(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> list[Line]:
    if rows < 3:
        return []
    points = snapshot.points
    window = Window(0.0, snapshot.end_s, [(band.start_s, band.end_s) for band in snapshot.bands])
    values = sample([p.t_s for p in points], [p.drift for p in points], window, dots(cells))
    return framed([Trace(values)], _scale(snapshot), window, cells, rows, ascii_only=ascii_only)


def _scale(snapshot: Snapshot) -> Scale:
    """0..0.5, or 0..1 once the score has been higher; a distance is never above 1."""
    high = any(point.drift is not None and point.drift > 0.5 for point in snapshot.points)
    return Scale(1.0, None, ("1.0", "")) if high else Scale(0.5, None, ("0.5", ""))
