"""What the process's exit code says. A caller may rely on these numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.result import ResultDocument


class Exit(IntEnum):
    """Exit codes of every command; INTERNAL lies outside the verdicts, so that a bug is never read as one."""

    GO = 0
    NO_GO = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INVALID = 4
    TARGET = 5
    INTERNAL = 70
    INTERRUPTED = 130


_OF_VERDICT = {"GO": Exit.GO, "NO-GO": Exit.NO_GO, "INCONCLUSIVE": Exit.INCONCLUSIVE, "INVALID": Exit.INVALID}
_OF_STATE = {"interrupted": Exit.INTERRUPTED, "failed": Exit.TARGET, "running": Exit.INCONCLUSIVE}


def exit_of(document: ResultDocument) -> Exit:
    """The code of a run's document; a run that did not reach its end is no verdict on the whole scenario."""
    return _OF_STATE.get(document.run.state) or _OF_VERDICT[document.verdict]
