"""A gate on a share of requests, decided by its exact binomial interval (stats.binomial)."""

from __future__ import annotations

from scenarios.definition import GateSpec
from scenarios.gates.bound import alike_text, allows_no_exception, bound_text, gate_name, open_text, side
from scenarios.gates.doubt import rate_doubt
from scenarios.gates.evidence import against
from scenarios.gates.samples import DEPENDS_ON_TIMES, Samples
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import binomial, needed
from scenarios.stats.alike import likeness
from scenarios.summary.rates import AS_MEASURED, Share


def judge_rate(gate: GateSpec, samples: Samples) -> GateResult:
    """The gate over every request that counts for its rate."""
    found = samples.share(gate.metric, AS_MEASURED)
    verdict = rate_side(gate, found.hits, found.n)
    alike = 1.0
    if verdict is not GateVerdict.FAIL and samples.context.even:
        alike = likeness(found.hit[found.over])
        verdict = rate_side(gate, found.hits, found.n, alike)
    low, high = binomial.interval(found.hits / alike, found.n / alike, gate.confidence)
    note, more = "", None
    if not found.n:
        note = "nothing was measured: no request counts for it"
    elif verdict is GateVerdict.INCONCLUSIVE:
        counts = (found.hits / alike, found.n / alike)
        more = needed.more_for_rate(*counts, gate.confidence, gate.minimum, gate.maximum)
        more = needed.in_requests(more, counts[1], len(samples.columns.index))
        note = open_text(gate, more)
        if alike > 1.0:
            note += f"; {alike_text(found.n, counts[1])}"
    elif gate.metric in DEPENDS_ON_TIMES and (doubt := _doubt(gate, verdict, found, alike, samples)):
        verdict, note = GateVerdict.INVALID, doubt
    elif verdict is GateVerdict.PASS and allows_no_exception(gate):
        bad = high if gate.maximum == 0.0 else 1.0 - low
        note = f"no exception in {found.n}; a share of exceptions up to {bad:.2%} is not excluded"
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=found.rate,
        interval=(low, high) if found.n else None,
        confidence=gate.confidence,
        verdict=verdict,
        n=found.n,
        evidence=against(gate, samples.columns, found),
        needed=more,
        reason=note,
    )


def rate_side(gate: GateSpec, hits: int, n: int, alike: float = 1.0) -> GateVerdict:
    """The side of a rate: by its exact interval, or by counting where the bound is the edge of the range.

    No finite sample can put an exact interval on 0 or 1. There the gate is a statement about this run: one exception
    fails it, none passes it, and the interval beside it says which share was not excluded. alike: how many requests
    are worth one independent one.
    """
    if not n:
        return GateVerdict.INCONCLUSIVE
    if allows_no_exception(gate):
        return side(gate, hits / n, hits / n)
    return side(gate, *binomial.interval(hits / alike, n / alike, gate.confidence))


def _doubt(gate: GateSpec, verdict: GateVerdict, found: Share, alike: float, samples: Samples) -> str:
    return rate_doubt(
        verdict,
        found,
        lambda hits: rate_side(gate, hits, found.n, alike),
        lambda shift: samples.share(gate.metric, shift),
        samples,
    )
