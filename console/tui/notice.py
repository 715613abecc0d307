"""What the console says when a run has no numbers yet, or none any more. Pure."""

from __future__ import annotations

from console.tui.paint import Line, Role, wrap
from console.tui.snapshot import Phase, Snapshot


def notice(snapshot: Snapshot, cells: int, rows: int) -> list[Line]:
    """The lines to show; none while all is as it should be."""
    words, role = _words(snapshot)
    return wrap(words, cells, max(min(rows, 6 if snapshot.tick is None else 3), 1), role) if words else []


def _words(snapshot: Snapshot) -> tuple[str, Role]:
    run = snapshot.short_id
    match snapshot.phase:
        case Phase.EMPTY:
            return "no run yet: press s to pick a scenario", Role.TEXT
        case Phase.OPENING:
            return "opening the journal of the run", Role.TEXT
        case Phase.PREPARING:
            return "preparing: starting the engine and warming it up", Role.ACCENT
        case Phase.FAILED:
            why = next((event.text for event in reversed(snapshot.events) if event.kind == "run.failed"), "")
            return f"the run failed: {why or 'the journal does not say why'}", Role.BAD
        case Phase.GONE:
            return f"the runner is gone; `seatrial report {run}` shows what was committed", Role.BAD
        case Phase.UNREADABLE:
            return f"cannot read the journal: {snapshot.problem}", Role.BAD
        case Phase.INTERRUPTED:
            return f"the run was interrupted; `seatrial report {run}` shows what was committed", Role.WARN
        case _:
            return "", Role.TEXT
