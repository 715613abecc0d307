"""What came of each fault: how service bore it, and what became of the requests in its shadow. Pure.

The words are defined in scenarios.result, the numbers in docs/measuring.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scenarios.observation import Outcome
from scenarios.recovery import SHARE, WINDOW_REQUESTS
from scenarios.result import FaultOutcome, FaultResult, PhaseShare
from scenarios.stats.order import quantile
from scenarios.summary.columns import Columns, Floats, Ints, Mask
from scenarios.summary.context import FiredFault, SummaryContext
from scenarios.summary.shadows import Aftermath, Shadow, Watched, owners

LOST = (
    Outcome.REFUSED,
    Outcome.TIMEOUT,
    Outcome.RESET,
    Outcome.TRUNCATED,
    Outcome.MALFORMED,
    Outcome.HTTP_4XX,
    Outcome.HTTP_5XX,
)

WITHHELD_BY = frozenset(
    {
        "network.bandwidth",
        "network.blackhole",
        "network.half_open",
        "network.latency",
        "network.slice",
        "network.slow_connect",
        "network.slow_start",
    }
)
"""The kinds that can keep every byte of an answer from us while nothing is closed, whatever the target does."""


def is_lost(columns: Columns) -> Mask:
    """Which requests ended without the answer that they were sent for, and not because we hung up or were put off."""
    return np.asarray(columns.is_outcome(*LOST) & ~columns.odd)


def is_stuck(columns: Columns) -> Mask:
    """Which waited to their timeout without a single byte of an answer."""
    return np.asarray(columns.is_outcome(Outcome.TIMEOUT) & (columns.begun == 0) & ~columns.answered & ~columns.odd)


def is_withheld(columns: Columns, shadows: Sequence[Shadow]) -> Mask:
    """Which timed out and were under way while a fault was on that may have kept the answer from us: that says nothing
    about the target. What another fault of the path does, a reset or a status, ends a request; under it none waits.
    """
    hit = np.zeros(len(columns.index), dtype=np.bool_)
    waited = np.flatnonzero(columns.is_outcome(Outcome.TIMEOUT))
    due_s, end_s = columns.due_s[waited], columns.end_s[waited]
    for fault in (shadow.fault for shadow in shadows):
        if fault.kind in WITHHELD_BY:
            hit[waited[(due_s <= fault.end_s) & (end_s >= fault.at_s)]] = True
    return hit


def extra_tries(columns: Columns) -> Ints:
    """Tries of each request beyond its first."""
    return np.where(columns.odd, 0, columns.attempts.astype(np.int64) - 1)


def is_duplicated(columns: Columns) -> Mask:
    """Which the target began to answer more than once."""
    return np.asarray((columns.begun > 1) & ~columns.odd)


def fault_results(columns: Columns, context: SummaryContext, aftermath: Aftermath) -> tuple[FaultResult, ...]:
    """One for each fault that was ordered, in the order of their starts."""
    if not context.faults:
        return ()
    requests, shadows = aftermath.requests, aftermath.shadows
    owner = owners(requests, shadows)
    by_owner = np.argsort(owner, kind="stable")
    begins = np.searchsorted(owner[by_owner], np.arange(len(shadows) + 1))
    ttft_s = columns.latency_s["ttft_s"][requests.row]
    counts = {
        "lost": is_lost(columns)[requests.row],
        "shed": columns.is_outcome(Outcome.SHED)[requests.row],
        "retried": extra_tries(columns)[requests.row],
        "duplicated": is_duplicated(columns)[requests.row],
        "stuck": is_stuck(columns)[requests.row],
    }
    allowed = None if context.objective is None else (1.0 - context.objective) * float((~columns.odd).sum())
    results = [_skipped(fault) for fault in context.faults if fault.why]
    clear_s = 0.0  # the end of the shadows so far
    for place, shadow in enumerate(shadows):
        own = by_owner[begins[place] : begins[place + 1]]
        found = {name: int(values[own].sum()) for name, values in counts.items()}
        bad = own[~requests.good[own]]
        fault = shadow.fault
        on_until_s = shadow.until_s if fault.instant else min(fault.end_s, shadow.until_s)
        results.append(
            FaultResult(
                number=fault.number,
                kind=fault.kind,
                words=fault.words,
                at_s=fault.at_s,
                end_s=fault.end_s,
                outcome=_outcome(shadow, len(own), len(bad), found["lost"]),
                undone=fault.undone,
                detected_s=_detected(shadow, requests.end_s[bad], context.signs_s),
                out_s=shadow.way_back.out_s,
                recovered_s=shadow.way_back.recovered_s,
                requests=len(own),
                lost=found["lost"],
                shed=found["shed"],
                retried=found["retried"],
                duplicated=found["duplicated"],
                stuck=found["stuck"],
                budget_spent=len(bad) / allowed if allowed else None,
                before=_phase(requests, ttft_s, clear_s, fault.at_s),
                during=_phase(requests, ttft_s, fault.at_s, on_until_s),
                after=_phase(requests, ttft_s, shadow.until_s, shadow.limit_s),
                facts=dict(fault.facts),
            )
        )
        clear_s = max(clear_s, shadow.until_s)
    return tuple(sorted(results, key=lambda result: (result.at_s, result.number)))


def _outcome(shadow: Shadow, requests: int, bad: int, lost: int) -> FaultOutcome:
    way_back = shadow.way_back
    felt = way_back.left or bad > (1.0 - SHARE) * requests + 1e-9
    if not requests:
        return FaultOutcome.UNKNOWN
    if way_back.recovered_s is None:
        if not felt and not lost and requests >= WINDOW_REQUESTS:
            return FaultOutcome.HELD
        return FaultOutcome.STUCK if way_back.told else FaultOutcome.UNKNOWN
    if way_back.recovered_s > 0:
        return FaultOutcome.RECOVERED
    if lost:
        return FaultOutcome.LOST
    return FaultOutcome.DEGRADED if felt else FaultOutcome.HELD


def _detected(shadow: Shadow, bad_end_s: Floats, signs_s: Sequence[float]) -> float | None:
    at_s = shadow.fault.at_s
    signs = [sign_s for sign_s in signs_s if at_s <= sign_s <= shadow.until_s]
    first_s = min([*signs, float(bad_end_s.min(initial=math.inf))])
    return None if math.isinf(first_s) else first_s - at_s


def _phase(requests: Watched, ttft_s: Floats, from_s: float, to_s: float) -> PhaseShare | None:
    due = requests.due_in(from_s, to_s)
    n = due.stop - due.start
    if not n:
        return None
    measured = ttft_s[due]
    measured = np.sort(measured[~np.isnan(measured)])
    return PhaseShare(n=n, good=int(requests.good[due].sum()), ttft_p95_s=quantile(measured, 0.95))


def _skipped(fault: FiredFault) -> FaultResult:
    return FaultResult(
        number=fault.number,
        kind=fault.kind,
        words=fault.words,
        at_s=fault.at_s,
        end_s=None,
        outcome=FaultOutcome.SKIPPED,
        why=fault.why,
    )
