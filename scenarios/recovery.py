"""How long after a disturbance the service was inside its SLO again. Pure: from due times and who was served well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenarios.result import Recovery

WINDOW_S = 3.0
WINDOW_REQUESTS = 5
SHARE = 0.95
FELT_WITHIN_S = 10.0  # a fault whose end is unknown must be felt so soon, or a later miss is not blamed on it


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`at_s`: the start of a fault, the end of a spike. `until_s`: the end of what may still be felt; None: not
    known.
    """

    cause: str
    at_s: float
    until_s: float | None = None


def recoveries(
    due_s: npt.NDArray[np.float64], good: npt.NDArray[np.bool_], disturbances: Sequence[Disturbance]
) -> tuple[Recovery, ...]:
    """One Recovery for each disturbance, in the order given. `due_s` and `good`: one entry for each request.

    The service is inside the SLO at t when of the requests due in [t, t + 3 s), or of the next five due where that
    takes longer, at least 95 % ended ok inside the SLO. Recovery is the time from the disturbance to the due time of
    the first well-served request at which that holds again, after it has once not held. A disturbance that was not felt
    while it lasted (or within 10 s, where its end is unknown) recovers in 0.0. None: not inside again before the
    requests ended, or they ended before a whole window could tell.
    """
    if not disturbances:
        return ()
    order = np.argsort(due_s, kind="stable")
    due, served = due_s[order], good[order]
    inside = _inside(due, served)
    return tuple(
        Recovery(cause=one.cause, at_s=one.at_s, recovered_s=_recovered(due, served, inside, one))
        for one in disturbances
    )


def _inside(due: npt.NDArray[np.float64], served: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """For a window that starts at each request: 1 inside, 0 outside, -1 when the run ended before the window did."""
    n = len(due)
    starts = np.arange(n)
    ends = np.maximum(np.searchsorted(due, due + WINDOW_S, side="left"), starts + WINDOW_REQUESTS)
    last = due[-1] if n else 0.0
    whole = (ends <= n) & (due + WINDOW_S <= last + _spacing(due))
    ends = np.minimum(ends, n)
    total = np.concatenate(([0], np.cumsum(served)))
    enough = (total[ends] - total[starts]) >= SHARE * (ends - starts) - 1e-9
    return np.where(enough & whole, 1, np.where(enough, -1, 0)).astype(np.int8)


def _spacing(due: npt.NDArray[np.float64]) -> float:
    """How much longer than its last due time a run watches: one usual gap, so that a last whole window counts."""
    return float(np.median(np.diff(due))) if len(due) > 1 else 0.0


def _recovered(
    due: npt.NDArray[np.float64], served: npt.NDArray[np.bool_], inside: npt.NDArray[np.int8], one: Disturbance
) -> float | None:
    start = int(np.searchsorted(due, one.at_s, side="left"))
    if start == len(due):
        return None
    last_felt_s = max(one.at_s, one.at_s + FELT_WITHIN_S if one.until_s is None else one.until_s)
    stop = max(start + 1, int(np.searchsorted(due, last_felt_s, side="right")))
    left = np.flatnonzero(inside[start:stop] == 0)
    if not len(left):
        return 0.0 if (inside[start:stop] == 1).any() else None
    back = np.flatnonzero((inside == 1) & served & (np.arange(len(due)) > start + left[0]))
    return float(due[back[0]] - one.at_s) if len(back) else None
