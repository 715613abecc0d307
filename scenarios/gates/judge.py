"""Each gate decided, with the samples that weigh most as evidence. Pure.

A percentile gate is decided by the order-statistic bound of its quantile, a rate gate by the exact binomial interval,
both two-sided at the gate's confidence and only when they lie wholly on one side. A value gate compares.
A gate that is sequential, and any in a run that ended early, is decided by a test that holds at every moment.
INVALID: the decision would be another if every time had been measured shorter or longer by the instrument's own error.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scenarios.definition import GateSpec, Phase
from scenarios.gates.anytime import judge_anytime
from scenarios.gates.bound import allows_no_exception, bound_text, gate_name, open_text, side
from scenarios.gates.evidence import against
from scenarios.gates.percentile import judge_percentile
from scenarios.gates.rate import judge_rate
from scenarios.gates.samples import Samples
from scenarios.metrics import METRICS, POOLED, MetricKind
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import binomial, needed
from scenarios.steady import why_no_phase
from scenarios.summary.rates import AS_MEASURED

_NO_PHASE = {
    Phase.BEFORE: "no request was due before the first fault",
    Phase.DURING: "no request was due while a fault was on",
    Phase.AFTER: "no request was due after the last fault, once service was back",
}


def judge(gates: Sequence[GateSpec], samples: Samples) -> tuple[GateResult, ...]:
    """One result for each gate, in order. Raises KeyError for a metric that the registry does not know."""
    spoilt = samples.instrument.spoils_all()
    results = tuple(_judge(gate, samples) for gate in gates)
    if not spoilt:
        return results
    return tuple(
        msgspec.structs.replace(result, verdict=GateVerdict.INVALID, needed=None, reason=spoilt) for result in results
    )


def _judge(gate: GateSpec, samples: Samples) -> GateResult:
    metric = METRICS[gate.metric]
    if gate.phase is not Phase.WHOLE:
        if why := why_no_phase(gate.metric):
            return _open(gate, f"{why}: no part of it can be looked at")
        samples = samples.part(gate.phase)
        if not len(samples.columns.index):
            return _open(gate, _NO_PHASE[gate.phase] if samples.shadows else "no fault was brought about")
    if metric.kind is MetricKind.VALUE:
        return judge_value(gate, samples)
    if metric.kind is MetricKind.DIFFERENCE:
        return judge_difference(gate, samples)
    # A run that ended early ended because of what it had measured: only what holds at every moment holds then.
    if gate.sequential or samples.early:
        if metric.family in POOLED:
            return _open(gate, "the run ended early, and gaps of one stream have no interval that holds at any moment")
        if not allows_no_exception(gate) and len(samples.trials(gate, AS_MEASURED)[0]):
            return judge_anytime(gate, samples)
    return judge_percentile(gate, samples) if metric.kind is MetricKind.PERCENTILE else judge_rate(gate, samples)


def judge_difference(gate: GateSpec, samples: Samples) -> GateResult:
    """Accuracy of era A minus accuracy of era B, by the interval of a difference of two shares."""
    a = samples.share("accuracy.era_a", AS_MEASURED)
    b = samples.share("accuracy.era_b", AS_MEASURED)
    if a.rate is None or b.rate is None:
        empty = "before" if a.rate is None else "after"
        return _open(gate, f"nothing was measured: no answer from {empty} the turn could be judged")
    if samples.early:
        return _open(gate, "the run ended early, and a difference has no interval that holds at any moment")

    def at(times: float) -> GateVerdict:
        interval = binomial.difference(a.hits * times, a.n * times, b.hits * times, b.n * times, gate.confidence)
        return side(gate, *interval)

    verdict, more, note = at(1.0), None, ""
    if verdict is GateVerdict.INCONCLUSIVE:
        requests = len(samples.columns.index)
        more = needed.more_for_difference(lambda times: at(times) is not GateVerdict.INCONCLUSIVE, requests)
        note = open_text(gate, more)
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=a.rate - b.rate,
        interval=binomial.difference(a.hits, a.n, b.hits, b.n, gate.confidence),
        confidence=gate.confidence,
        verdict=verdict,
        n=a.n + b.n,
        evidence=against(GateSpec(gate.metric, minimum=1.0), samples.columns, b),
        needed=more,
        reason=note,
    )


def _open(gate: GateSpec, why: str) -> GateResult:
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=None,
        interval=None,
        confidence=gate.confidence,
        verdict=GateVerdict.INCONCLUSIVE,
        n=0,
        reason=why,
    )


def judge_value(gate: GateSpec, samples: Samples) -> GateResult:
    """One number against its bound. A number that the run was too short to see is known to be at least so much."""
    value = samples.value(gate.metric)
    low = value.at_least if value.measured is None else value.measured
    verdict = GateVerdict.INCONCLUSIVE if low is None else side(gate, low, value.measured)
    if low is not None and value.measured is None and verdict is GateVerdict.PASS:
        verdict = GateVerdict.INCONCLUSIVE  # at least the minimum, but never seen: nothing to pass on
    interval = value.interval
    if interval is not None:
        verdict = side(gate, *interval)
    elif value.measured is None and value.at_least is not None:
        interval = (value.at_least, None)
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=value.measured,
        interval=interval,
        confidence=gate.confidence,
        verdict=verdict,
        n=value.n,
        reason=value.why,
    )
