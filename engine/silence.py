"""What the silence of a process means: nothing yet, a stall, a hang. Pure."""

from __future__ import annotations

from enum import Enum

STEPS_BEFORE_HUNG = 8.0
"""A step this many times slower than the slowest one at the start is suspicious: the warm-up knew no full context, and
no machine whose cores are all wanted."""
WORKING_SHARE = 0.02
"""A silent process that uses more of a core than this computes; one that is stopped or locked uses nothing."""
WORKING_PATIENCE = 4.0
"""One that computes gets this many times longer: on a saturated machine it is slow, and to kill it makes it slower."""


class Silence(Enum):
    NORMAL = "normal"
    STALLED = "stalled"
    HUNG = "hung"


def limit_s(hang_timeout_s: float, slowest_step_s: float) -> float:
    """How long a decode process may be silent whose largest step took `slowest_step_s` when it was warmed up."""
    return max(hang_timeout_s, STEPS_BEFORE_HUNG * slowest_step_s)


def judge(silent_s: float, limit_s: float, working_share: float) -> Silence:
    """Stalled at half of the limit, hung at the limit. working_share: cores it used since it stalled."""
    allowed_s = limit_s * (WORKING_PATIENCE if working_share > WORKING_SHARE else 1.0)
    if silent_s > allowed_s:
        return Silence.HUNG
    return Silence.STALLED if silent_s > limit_s / 2 else Silence.NORMAL
