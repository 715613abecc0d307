"""A gate on a share of requests, decided by its exact binomial interval (stats.binomial)."""

from __future__ import annotations

import numpy as np

from scenarios.definition import GateSpec
from scenarios.gates.bound import allows_no_exception, bound_text, open_text, side
from scenarios.gates.samples import Samples
from scenarios.observation import Outcome
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import binomial, needed
from scenarios.summary.rates import AS_MEASURED, Share, Shift, share

EVIDENCE = 5
DEPENDS_ON_TIMES = frozenset({"goodput"})


def judge_rate(gate: GateSpec, samples: Samples) -> GateResult:
    """The gate over every request that counts for its rate."""
    found = _share(gate, samples, AS_MEASURED)
    verdict = rate_side(gate, found.hits, found.n)
    low, high = binomial.interval(found.hits, found.n, gate.confidence)
    note, more = "", None
    if not found.n:
        note = "nothing was measured: no request counts for it"
    elif verdict is GateVerdict.INCONCLUSIVE:
        more = needed.more_for_rate(found.hits, found.n, gate.confidence, gate.minimum, gate.maximum)
        more = needed.in_requests(more, found.n, len(samples.columns.index))
        note = open_text(gate, more)
    elif doubt := _doubt(gate, verdict, found, samples):
        verdict, note = GateVerdict.INVALID, doubt
    elif verdict is GateVerdict.PASS and allows_no_exception(gate):
        bad = high if gate.maximum == 0.0 else 1.0 - low
        note = f"no exception in {found.n}; a share of exceptions up to {bad:.2%} is not excluded"
    return GateResult(
        name=gate.name or gate.metric,
        metric=gate.metric,
        bound=bound_text(gate),
        measured=found.rate,
        interval=(low, high) if found.n else None,
        confidence=gate.confidence,
        verdict=verdict,
        n=found.n,
        evidence=_against(gate, found, samples),
        needed=more,
        reason=note,
    )


def rate_side(gate: GateSpec, hits: int, n: int) -> GateVerdict:
    """The side of a rate: by its exact interval, or by counting where the bound is the edge of the range.

    No finite sample can put an exact interval on 0 or 1. There the gate is a statement about this run: one exception
    fails it, none passes it, and the interval beside it says which share was not excluded.
    """
    if not n:
        return GateVerdict.INCONCLUSIVE
    if allows_no_exception(gate):
        return side(gate, hits / n, hits / n)
    return side(gate, *binomial.interval(hits, n, gate.confidence))


def _share(gate: GateSpec, samples: Samples, shift: Shift) -> Share:
    found = share(samples.columns, samples.context.slo, gate.metric, shift)
    if not samples.interrupted:
        return found
    counts = ~samples.columns.is_outcome(Outcome.UNSENT, Outcome.CANCELLED)
    return Share(found.hit & counts, found.over & counts)


def _doubt(gate: GateSpec, verdict: GateVerdict, found: Share, samples: Samples) -> str:
    """Why the decision could be the instrument's own doing; empty when it could not, or when no time plays a part."""
    if gate.metric not in DEPENDS_ON_TIMES:
        return ""
    shifted = [_share(gate, samples, shift) for shift in samples.instrument.shifts()]
    if all(rate_side(gate, one.hits, one.n) is verdict for one in shifted):
        return ""
    fewest, most = sorted(one.hits for one in shifted)
    return (
        f"the {verdict.value} could be the harness's own doing: within its error of {samples.instrument.late_s:.3g} s "
        f"between {fewest} and {most} of {found.n} requests are inside the SLO"
    )


def _against(gate: GateSpec, found: Share, samples: Samples) -> tuple[int, ...]:
    """Indexes of requests that weigh against the bound: those that ended badly first, then the slowest."""
    rows = np.flatnonzero(found.over & ~found.hit) if gate.minimum is not None else np.flatnonzero(found.hit)
    if not len(rows):
        return ()
    ok = samples.columns.is_outcome(Outcome.OK)[rows]
    took_s = (samples.columns.end_s - samples.columns.due_s)[rows]
    first = np.lexsort((rows, -took_s, ok))[:EVIDENCE]
    return tuple(int(samples.columns.index[row]) for row in rows[first])
