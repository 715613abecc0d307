"""Traffic: what is due, what is done, what waits, and how requests ended."""

from __future__ import annotations

from console.tui.chart import Scale, Trace, Window, dots, framed, sample
from console.tui.paint import Drawing, Line, Role, flow, line, spread
from console.tui.snapshot import Snapshot
from console.tui.units import NONE, ceiling, rate, whole

_GOOD = ("ok",)
_MEANT = ("shed", "cancelled")  # the service said no, or we hung up: not faults of the answer


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """Numbers first, then done (line) over due (area) for the whole run."""
    tick = snapshot.tick
    if tick is None:
        return Drawing((line(("waiting for traffic", Role.DIM)),), "Traffic")
    wide = cells >= 46
    waiting = NONE if tick.engine.waiting is None else whole(tick.engine.waiting)
    per = " /s" if wide else "/s"
    gap = "   " if wide else "  "
    due = line(("due ", Role.SECOND), (rate(tick.due_rate), Role.STRONG), (per, Role.DIM))
    done = line(("done ", Role.FIRST), (rate(tick.done_rate), Role.STRONG), (per, Role.DIM))
    flight = line(("in flight ", Role.DIM), whole(tick.in_flight), gap, ("queued ", Role.DIM), waiting)
    sent = line(("sent ", Role.DIM), whole(tick.sent), (" of ", Role.DIM), whole(tick.planned))
    tokens = line(("tokens ", Role.DIM), rate(tick.token_rate), (per, Role.DIM))
    head: list[Line]
    if wide:
        head = [spread((*due, *line(gap), *done), tokens, cells), spread(flight, sent, cells)]
    else:
        head = [(*due, *line(gap), *done), flight, sent, *([tokens] if rows >= 12 else [])]
    outcomes = flow([_outcome(name, count) for name, count in _ordered(tick.outcomes)], cells, 2)
    head += outcomes or [line(("no answer yet", Role.DIM))]
    return Drawing(tuple(head + _chart(snapshot, cells, rows - len(head), ascii_only))[:rows], "Traffic")


def _ordered(outcomes: dict[str, int]) -> list[tuple[str, int]]:
    """ok first, then the others by how many they are; what never happened is left out, save ok."""
    rest = sorted(((k, n) for k, n in outcomes.items() if n and k not in _GOOD), key=lambda item: (-item[1], item[0]))
    return [*((k, outcomes[k]) for k in _GOOD if k in outcomes), *rest]


def _outcome(name: str, count: int) -> Line:
    role = Role.GOOD if name in _GOOD else Role.WARN if name in _MEANT else Role.BAD
    glyph = "✓ " if name in _GOOD else "" if name in _MEANT else "✗ "
    return line((f"{glyph}{name} ", role), whole(count))


def _chart(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> list[Line]:
    if rows < 3:
        return []
    points = snapshot.points
    top = ceiling(max((max(p.due_rate, p.done_rate) for p in points), default=1.0))
    window = Window(0.0, snapshot.end_s, [(band.start_s, band.end_s) for band in snapshot.bands])
    times = [p.t_s for p in points]
    traces = [
        Trace(sample(times, [p.due_rate for p in points], window, dots(cells)), Role.SECOND, filled=True),
        Trace(sample(times, [p.done_rate for p in points], window, dots(cells)), Role.FIRST),
    ]
    return framed(traces, Scale(top, None, (f"{top:g}", "")), window, cells, rows, ascii_only=ascii_only)
