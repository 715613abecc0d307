"""What the console says when a run has no numbers yet, or none any more. Pure."""

from __future__ import annotations

from console.tui.paint import Line, Role, wrap
from console.tui.snapshot import Phase, Snapshot


def notice(snapshot: Snapshot, cells: int, rows: int) -> list[Line]:
    """The whole of it in lines, for a panel that has nothing else to show; none while there are numbers.

    A run that failed before it sent anything has a tick, but only zeros in it; so has one that still prepares.
    """
    text, role = words(snapshot)
    tick = snapshot.tick
    numbers = tick is not None and (tick.sent > 0 or snapshot.phase not in (Phase.FAILED, Phase.PREPARING))
    return wrap(text, cells, max(min(rows, 8), 1), role) if text and not numbers else []


def words(snapshot: Snapshot) -> tuple[str, Role]:
    """What is the matter, and its role; empty while all is as it should be."""
    run = snapshot.short_id
    match snapshot.phase:
        case Phase.EMPTY:
            return "no run yet: press s to pick a scenario", Role.TEXT
        case Phase.OPENING:
            return "opening the journal of the run", Role.TEXT
        case Phase.PREPARING if snapshot.tick is not None and snapshot.tick.instrument.preflight is not None:
            done = snapshot.tick.instrument.preflight
            return f"preflight: measuring this machine's noise floor, {done:.0%} done", Role.ACCENT
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
