"""The shadow of each fault: from its start until service was back, and which requests are in it. Pure.

A request belongs to the fault that had started last, of those in whose shadow it was under way, when it was over or,
before that, when it was clear that it had missed its SLO. So a request that hangs is not blamed on a fault that came
long after the one that hung it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenarios.definition import ArrivalKind, Arrivals, Slo
from scenarios.observation import Outcome
from scenarios.recovery import FELT_WITHIN_S, WINDOW_S, Disturbance, Service, WayBack, recovery_of
from scenarios.result import Recovery
from scenarios.summary.columns import Columns, Floats, Ints, Mask
from scenarios.summary.context import FiredFault, SummaryContext
from scenarios.summary.rates import missed_s


@dataclass(frozen=True, slots=True)
class Watched:
    """The requests that tell how service was, by due time: not those that we never sent or hung up on before they had
    missed anything, and no odd probes. `row`: of the columns; missed_s: infinite for good ones.
    """

    row: Ints
    due_s: Floats
    end_s: Floats
    missed_s: Floats

    @property
    def good(self) -> Mask:
        """Which ended well inside the SLO."""
        return np.asarray(np.isinf(self.missed_s))

    @property
    def settled_s(self) -> Floats:
        """When it was clear how a request would end."""
        return np.minimum(self.end_s, self.missed_s)

    def due_in(self, from_s: float, to_s: float) -> slice:
        """Those due from then until before then."""
        begin, end = np.searchsorted(self.due_s, (from_s, to_s), side="left").tolist()
        return slice(begin, max(begin, end))


NOBODY = Watched(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class Shadow:
    """One fault and how service came back. from_s: when its cause was gone: the way back counts from here.

    back_s: when service was inside the SLO again, None: not seen.
    until_s: the end of the shadow: when service was back, but 3 s after the start at least; where it was not seen to
    come back, `limit_s`: when the next fault began (infinite: none did).
    """

    fault: FiredFault
    from_s: float
    way_back: WayBack
    back_s: float | None
    until_s: float
    limit_s: float


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a run's disturbances did: `shadows` in the order of the faults' starts, `recovery` in the order of time."""

    requests: Watched = NOBODY
    shadows: tuple[Shadow, ...] = ()
    recovery: tuple[Recovery, ...] = ()


def aftermath_of(columns: Columns, context: SummaryContext) -> Aftermath:
    """The shadows of a run's faults, and how long service was out of the SLO after each of them and after a spike."""
    fired = sorted((fault for fault in context.faults if not fault.why), key=lambda fault: fault.at_s)
    spike = _spike(columns, context.arrivals)
    if not fired and spike is None:
        return Aftermath()
    requests = watched(columns, context.slo)
    service = Service(requests.due_s, requests.good, requests.missed_s)
    starts = np.array([fault.at_s for fault in fired])
    disturbances = [_disturbance(fault, fired, starts) for fault in fired]
    ways = [service.way_back(one) for one in disturbances]
    recovery = [recovery_of(one, way) for one, way in zip(disturbances, ways, strict=True)]
    if spike is not None:
        recovery.append(recovery_of(spike, service.way_back(spike)))
    return Aftermath(
        requests,
        tuple(_shadow(*each) for each in zip(fired, disturbances, ways, strict=True)),
        tuple(sorted(recovery, key=lambda one: one.at_s)),
    )


def _spike(columns: Columns, arrivals: Arrivals) -> Disturbance | None:
    """The end of the spike, where the run came to it."""
    if arrivals.kind is not ArrivalKind.SPIKE:
        return None
    ended_s = arrivals.spike_at_s + arrivals.spike_s
    unsent = columns.is_outcome(Outcome.UNSENT)
    reached = not unsent.any() or ended_s <= columns.due_s[~columns.odd & ~unsent].max(initial=0.0)
    return Disturbance("spike", ended_s, ended_s) if reached else None


def watched(columns: Columns, slo: Slo) -> Watched:
    """The requests of a run that tell how service was."""
    missed = missed_s(columns, slo)
    ours = columns.is_outcome(Outcome.CANCELLED) & (columns.hangs_up | (missed >= columns.end_s))
    found = np.flatnonzero(~columns.odd & ~columns.is_outcome(Outcome.UNSENT) & ~ours)
    found = found[np.argsort(columns.times_ns[0][found], kind="stable")]
    return Watched(found, columns.due_s[found], columns.end_s[found], missed[found])


def _disturbance(fault: FiredFault, fired: Sequence[FiredFault], starts: Floats) -> Disturbance:
    """What the fault is to recover from: a lasting one is over when all are that were on at its end."""
    if fault.instant:
        next_at = int(np.searchsorted(starts, fault.at_s, side="right"))
        until_s = max(fault.end_s, fault.at_s + FELT_WITHIN_S)
        return Disturbance(fault.kind, fault.at_s, until_s, limit_s=_start(starts, next_at))
    over_s = fault.end_s
    for other in fired:
        if other.at_s < over_s and not other.instant:
            over_s = max(over_s, other.end_s)
    next_at = int(np.searchsorted(starts, over_s, side="left"))
    return Disturbance(fault.kind, over_s, over_s, since_s=fault.at_s, limit_s=_start(starts, next_at))


def _start(starts: Floats, at: int) -> float:
    return float(starts[at]) if at < len(starts) else math.inf


def _shadow(fault: FiredFault, one: Disturbance, way_back: WayBack) -> Shadow:
    back_s = None if way_back.recovered_s is None else one.at_s + way_back.recovered_s
    until_s = one.limit_s if back_s is None else back_s
    if not fault.instant and one.at_s > fault.end_s:
        until_s = fault.end_s  # from here on those that were still on are to blame
    until_s = min(max(until_s, fault.at_s + WINDOW_S), one.limit_s)
    return Shadow(fault, one.at_s, way_back, back_s, until_s, one.limit_s)


def owners(requests: Watched, shadows: Sequence[Shadow]) -> npt.NDArray[np.int32]:
    """For each request the place of the shadow that it belongs to, -1 for none."""
    owner = np.full(len(requests.row), -1, dtype=np.int32)
    longest_s = float((requests.end_s - requests.due_s).max(initial=0.0))
    settled_s = requests.settled_s
    for place, shadow in enumerate(shadows):
        at_s = shadow.fault.at_s
        near = requests.due_in(at_s - longest_s, np.nextafter(shadow.until_s, math.inf))
        owner[near][settled_s[near] >= at_s] = place
    return owner
