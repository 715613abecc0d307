"""Faults and events: what is on now, and what happened, newest first."""

from __future__ import annotations

from console.tui.paint import Drawing, Line, Role, Span, fit, line, width
from console.tui.snapshot import Snapshot
from console.tui.units import clock, rate
from scenarios.tick import ActiveFault, Event

_SIGNS = (
    ("fault.start", "▼", Role.BAD),
    ("fault.end", "▲", Role.GOOD),
    ("fault.skipped", "·", Role.DIM),
    ("abort", "✗", Role.BAD),
    ("fault", "▼", Role.WARN),
    ("run.failed", "✗", Role.BAD),
    ("engine.died", "✗", Role.BAD),
    ("engine.gave_up", "✗", Role.BAD),
    ("engine.stalled", "○", Role.WARN),
    ("engine.hung", "✗", Role.BAD),
    ("engine.recovered", "●", Role.GOOD),
    ("engine.restarting", "○", Role.WARN),
    ("engine.ready", "●", Role.GOOD),
    ("engine", "○", Role.ACCENT),
    ("operator", "›", Role.ACCENT),
    ("drift", "◆", Role.WARN),
)


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """Active faults first, then events."""
    tick = snapshot.tick
    active = [] if tick is None else [_active(fault, tick.t_s, cells) for fault in tick.faults]
    lines = active + [_event(event, cells) for event in reversed(snapshot.events)]
    if not lines:
        lines = [line(("nothing happened yet", Role.DIM))]
    subtitle = f"{len(active)} fault{'s' if len(active) > 1 else ''} on" if active else ""
    return Drawing(tuple(lines[:rows]), "Faults and events", subtitle)


def _active(fault: ActiveFault, now_s: float, cells: int) -> Line:
    since = f"  on {max(now_s - fault.since_s, 0.0):.1f} s"
    if fault.until_s is not None:
        since += f" of {fault.until_s - fault.since_s:.1f}"
    what = f"{fault.kind}  {fault.words}".rstrip()
    return line(("▼ ", Role.BAD), (fit(what, cells - 2 - len(since)), Role.BAD), since)


def _event(event: Event, cells: int) -> Line:
    sign, role = next(((s, r) for kind, s, r in _SIGNS if event.kind.startswith(kind)), ("·", Role.DIM))
    when = clock(event.t_s) if event.t_s >= 0 else "prep "
    head = line((when, Role.DIM), " ", (sign, role), " ")
    tail = line((f"  back {rate(event.recovery_s)} s", Role.GOOD)) if event.recovery_s is not None else ()
    text = event.text or event.kind
    if event.fault is not None and event.kind == "fault.start":
        text = f"{event.fault.kind} starts  {event.fault.words}".rstrip()
    elif event.kind in ("fault.start", "fault.end"):
        text += " starts" if event.kind == "fault.start" else " ended"
    elif event.kind.startswith("engine.") and not text.startswith("engine"):
        text = f"{event.kind.replace('.', ' ')}  {event.text}".rstrip()
    room = cells - width(head) - width(tail)
    if tail and room < 10:
        tail = line((f"  {rate(event.recovery_s)} s", Role.GOOD))
        room = cells - width(head) - width(tail)
    return (*head, Span(fit(text, room)), *tail)
