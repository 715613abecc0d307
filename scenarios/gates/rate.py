"""A gate on a share of requests, decided by its exact binomial interval (stats.binomial)."""

from __future__ import annotations

import numpy as np

from scenarios.definition import GateSpec
from scenarios.gates.bound import allows_no_exception, bound_text, open_text, side
from scenarios.gates.doubt import rate_doubt
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
    elif gate.metric in DEPENDS_ON_TIMES and (doubt := _doubt(gate, verdict, found, samples)):
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
    return rate_doubt(
        verdict, found, lambda hits: rate_side(gate, hits, found.n), lambda shift: _share(gate, samples, shift), samples
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
