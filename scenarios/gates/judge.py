"""Each gate decided, with the samples that weigh most as evidence. Pure.

A percentile gate is decided by the order-statistic bound of its quantile, a rate gate by the exact binomial interval,
both two-sided at the gate's confidence and only when they lie wholly on one side. A value gate compares.
INVALID: the decision would be another if every time had been measured shorter or longer by the instrument's own error.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scenarios.definition import GateSpec
from scenarios.gates.bound import bound_text, side
from scenarios.gates.percentile import judge_percentile
from scenarios.gates.rate import judge_rate
from scenarios.gates.samples import Samples
from scenarios.metrics import METRICS, MetricKind
from scenarios.result import GateResult, GateVerdict


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
    match METRICS[gate.metric].kind:
        case MetricKind.PERCENTILE:
            return judge_percentile(gate, samples)
        case MetricKind.RATE:
            return judge_rate(gate, samples)
        case MetricKind.VALUE:
            return judge_value(gate, samples)


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
        name=gate.name or gate.metric,
        metric=gate.metric,
        bound=bound_text(gate),
        measured=value.measured,
        interval=interval,
        confidence=gate.confidence,
        verdict=verdict,
        n=value.n,
        reason=value.why,
    )
