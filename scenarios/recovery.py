"""How long after a disturbance the service was inside its SLO again. Pure: from due times and who was served well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenarios.result import Recovery

WINDOW_S = 3.0
WINDOW_REQUESTS = 5
SHARE = 0.95
FELT_WITHIN_S = 10.0  # a fault whose end is unknown must be felt so soon, or a later miss is not blamed on it

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_INSIDE, _OUTSIDE, _SO_FAR, _UNTOLD = 1, 0, 2, -1


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something to recover from. Seconds of the run.

    at_s: from when recovery counts: the start of a fault that is over at once, the end of one that lasted and of a
    spike. until_s: the end of what may still be felt; None: not known. since_s: the start of what lasted; None: at_s.
    limit_s: from here on another disturbance may be to blame.
    """

    cause: str
    at_s: float
    until_s: float | None = None
    since_s: float | None = None
    limit_s: float = math.inf


@dataclass(frozen=True, slots=True)
class WayBack:
    """recovered_s: from `at_s` to service inside the SLO; None: it was not seen.

    watched_s: how long after `at_s` service is known to have been outside, where it was not seen to be back.
    left: whether service was outside at all. out_s: how long, from the first request not served well to its return.
    told: whether a whole window says so; without, there were too few requests.
    """

    recovered_s: float | None = None
    watched_s: float = 0.0
    left: bool = False
    out_s: float = 0.0
    told: bool = False


def recovery_of(one: Disturbance, back: WayBack) -> Recovery:
    """The way back, as a summary tells it."""
    return Recovery(
        cause=one.cause,
        at_s=one.at_s,
        recovered_s=back.recovered_s,
        watched_s=back.watched_s if back.recovered_s is None else None,
    )


class Service:
    """Requests by due time, and who of them was served well.

    The service is inside the SLO at t when of the requests due in [t, t + 3 s), or of the next five due where that
    takes longer, at least 95 % ended ok inside the SLO.
    """

    def __init__(self, due_s: Floats, good: Mask, missed_s: Floats | None = None) -> None:
        """One entry for each request. missed_s: when it was clear that a request was not served well (default: at
        once); one of which that was not clear when another disturbance began says nothing about those before.
        """
        order = np.argsort(due_s, kind="stable")
        self._due_s, self._good = due_s[order], good[order]
        self._missed_s = self._due_s if missed_s is None else missed_s[order]

    def __repr__(self) -> str:
        return f"Service({len(self._due_s)} requests, {int(self._good.sum())} good)"

    def way_back(self, one: Disturbance) -> WayBack:
        """Recovery is the time from the disturbance to the due time of the first well-served request at which service
        is inside again, after it has once been outside.

        A disturbance that was not felt while it may be (until_s, or within 10 s) recovers in 0.0. Only requests due
        before limit_s are looked at.
        """
        since_s = one.at_s if one.since_s is None else one.since_s
        begin, end = np.searchsorted(self._due_s, (since_s, one.limit_s), side="left").tolist()
        due, good = self._due_s[begin:end], self._good[begin:end]
        if end < len(self._due_s):
            clear = good | (self._missed_s[begin:end] < one.limit_s)
            due, good = due[clear], good[clear]
        if not len(due):
            return WayBack()
        inside = _inside(due, good, one.limit_s if end < len(self._due_s) else due[-1] + _spacing(due))
        start = int(np.searchsorted(due, one.at_s, side="left"))
        last_felt_s = max(one.at_s, one.at_s + FELT_WITHIN_S if one.until_s is None else one.until_s)
        stop = max(start + 1, int(np.searchsorted(due, last_felt_s, side="right")))
        back = np.flatnonzero((inside == _INSIDE) & good)
        left = np.flatnonzero(inside[:stop] == _OUTSIDE)
        first_bad_s = float(due[left[0] + int(np.argmin(good[left[0] :]))]) if len(left) else 0.0
        if start == len(due):
            return WayBack(left=bool(len(left)), out_s=float(due[-1]) - first_bad_s if len(left) else 0.0)
        felt = left[left >= start]
        if not len(felt):
            told = bool((inside[start:stop] == _INSIDE).any())
            after = back[back > left[-1]] if len(left) else back[:0]
            returned_s = float(due[after[0]]) if len(after) else one.at_s
            out_s = max(0.0, returned_s - first_bad_s) if len(left) else 0.0
            return WayBack(0.0 if told else None, left=bool(len(left)), out_s=out_s, told=told)
        after = back[back > felt[0]]
        if len(after):
            returned_s = float(due[after[0]])
            return WayBack(returned_s - one.at_s, left=True, out_s=returned_s - first_bad_s, told=True)
        last = int(np.flatnonzero(inside == _OUTSIDE)[-1])
        to_the_end = not ((inside == _SO_FAR) & good)[last + 1 :].any()
        outside_s = float(due[-1 if to_the_end else last])
        return WayBack(
            None,
            watched_s=outside_s - one.at_s,
            left=True,
            out_s=max(0.0, outside_s - first_bad_s),
            told=to_the_end,
        )


def _inside(due: Floats, served: Mask, watched_to_s: float) -> npt.NDArray[np.int8]:
    """For a window that starts at each request: inside, outside, or, where nobody watched to its end, inside by all
    that was seen of it (so far), or untold.

    A window that was not seen to its end is outside only if it were so had all that is missing gone well.
    """
    n = len(due)
    starts = np.arange(n)
    ends = np.maximum(np.searchsorted(due, due + WINDOW_S, side="left"), starts + WINDOW_REQUESTS)
    whole = (ends <= n) & (due + WINDOW_S <= watched_to_s)
    unseen = np.ceil(np.clip(due + WINDOW_S - watched_to_s, 0.0, WINDOW_S) / (_spacing(due) or WINDOW_S))
    unseen = np.where(whole, 0.0, np.maximum(unseen, ends - n))
    ends = np.minimum(ends, n)
    total = np.concatenate(([0], np.cumsum(served)))
    ok, seen = total[ends] - total[starts], ends - starts
    enough = ok >= SHARE * seen - 1e-9
    possible = ok + unseen >= SHARE * (seen + unseen) - 1e-9
    return np.select([enough & whole, ~possible, enough], [_INSIDE, _OUTSIDE, _SO_FAR], _UNTOLD).astype(np.int8)


def _spacing(due: Floats) -> float:
    """The usual gap: so much longer than its last due time a run watches, so that a last whole window counts."""
    return float(np.median(np.diff(due))) if len(due) > 1 else 0.0
