"""What a holder does, which is one process for one fault: bring it about, wait, undo it, say so."""

from __future__ import annotations

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.kinds import HOLDERS
from scenarios.faults.holder.messages import Over, Refused
from scenarios.faults.holder.undos import undo_all
from scenarios.faults.injector import Ended, FaultRefused


def run(hold: Hold) -> Over | Refused:
    """One fault from its order to its end; nothing of it is left but what could not be undone."""
    number = hold.order.number
    problem = ""
    try:
        HOLDERS[hold.order.kind](hold)
    except FaultRefused as refused:
        problem = str(refused)
    except Exception as error:  # noqa: BLE001  # whatever it is: what was done is undone, and it is told
        problem = f"{type(error).__name__}: {error}"
    return told(number, hold.begun_s is not None, problem or hold.why, undo_all(hold.undos), hold.facts)


def told(
    number: int, begun: bool, why: str, unsolved: tuple[str, ...], facts: dict[str, float | str]
) -> Over | Refused:
    """The last word on a fault. unsolved: what could not be undone."""
    problem = "; ".join(unsolved)
    if not begun:
        return Refused(number, "; ".join(filter(None, (why or "it ended before it was in force", problem))))
    if problem:
        facts = {**facts, "problem": problem}
    return Over(Ended(number=number, why=why or "it has struck", undone=not unsolved, facts=facts))
