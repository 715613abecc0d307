"""The gates as they stand while a run goes on: from sketches and counts, in time that does not grow with the run.

It is a view, not a judgement: a sketch is 1 % coarse, and who looks at every moment sees more extremes than who looks
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from scenarios.definition import GateSpec, Phase
from scenarios.gates.bound import bound_text, gate_name, side
from scenarios.gates.rate import rate_side
from scenarios.metrics import METRICS, MetricKind
from scenarios.result import GateVerdict
from scenarios.stats import binomial
from scenarios.stats.sketch import LogSketch
from scenarios.tick import GateSample

_STATES = {GateVerdict.PASS: "pass", GateVerdict.FAIL: "fail"}


def so_far(
    gates: Sequence[GateSpec],
    sketches: Mapping[str, LogSketch],
    counts: Mapping[str, tuple[int, int]],
    values: Mapping[str, float | None],
    sequential: Mapping[int, GateVerdict] = MappingProxyType({}),
) -> tuple[GateSample, ...]:
    """One sample for each gate. `sketches` by latency ("ttft_s"), `counts` (hits, n) by rate metric, `values` by name.

    A metric that is not given is open, and so is a gate on a part of the run. A rate counts finished requests only; a
    value is open until it is known. A sequential gate stands where `sequential` says, by its place in `gates`: that is
    no view but the decision itself.
    """
    return tuple(_so_far(gate, sketches, counts, values, sequential.get(place)) for place, gate in enumerate(gates))


def _so_far(
    gate: GateSpec,
    sketches: Mapping[str, LogSketch],
    counts: Mapping[str, tuple[int, int]],
    values: Mapping[str, float | None],
    standing: GateVerdict | None,
) -> GateSample:
    metric = METRICS[gate.metric]
    measured: float | None = None
    verdict = GateVerdict.INCONCLUSIVE
    match metric.kind:
        case MetricKind.PERCENTILE:
            sketch = sketches.get(metric.family)
            if sketch is not None and sketch.n and metric.quantile is not None:
                measured = sketch.quantile(metric.quantile)
                verdict = _percentile_side(gate, sketch, metric.quantile)
        case MetricKind.RATE:
            hits, n = counts.get(gate.metric, (0, 0))
            measured = hits / n if n else None
            verdict = rate_side(gate, hits, n)
        case MetricKind.VALUE | MetricKind.DIFFERENCE:
            measured = values.get(gate.metric)
            verdict = GateVerdict.INCONCLUSIVE if measured is None else side(gate, measured, measured)
    if gate.sequential:
        verdict = standing or GateVerdict.INCONCLUSIVE
    note = ""
    if gate.phase is not Phase.WHOLE:  # what was counted is of the whole run
        measured, verdict, note = None, GateVerdict.INCONCLUSIVE, "judged at the end"
    return GateSample(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        measured=measured,
        state=_STATES.get(verdict, "open"),
        note=note,
    )


def _percentile_side(gate: GateSpec, sketch: LogSketch, q: float) -> GateVerdict:
    """The same test as by order statistics: whether a share q of the values is at or below the limit."""
    passes = []
    for limit, is_maximum in ((gate.maximum, True), (gate.minimum, False)):
        if limit is None:
            continue
        low, high = binomial.interval(sketch.at_or_below(limit), sketch.n, gate.confidence)
        if (high < q) if is_maximum else (low > q):
            return GateVerdict.FAIL
        passes.append((low >= q) if is_maximum else (high <= q))
    return GateVerdict.PASS if all(passes) else GateVerdict.INCONCLUSIVE
