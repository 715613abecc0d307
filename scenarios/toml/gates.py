"""`[[gates]]`: by which bounds the run is judged."""

from __future__ import annotations

from scenarios.definition import Arrivals, GateSpec, Over, Phase, Workload
from scenarios.metrics import METRICS, Metric, MetricKind, missing_needs
from scenarios.steady import why_no_phase, why_not_sequential, why_uneven
from scenarios.toml.keys import GATE_KEYS, HARMFUL, HOMES
from scenarios.toml_table import Table

FROM_DUE = frozenset({"ttft_s", "ttfa_s", "e2e_s"})  # what every request that is served has
SUREST = 0.999999  # the highest confidence that can be asked for


def read_gates(top: Table, workload: Workload | None, arrivals: Arrivals | None) -> tuple[GateSpec, ...]:
    any_fault = any(key in top for key in HARMFUL)
    uneven = why_uneven(workload, arrivals, any_fault, "search" in top)
    seen: dict[tuple[str, str], int] = {}
    gates = []
    for table in top.tables("gates"):
        table.refuse_unknown(GATE_KEYS, HOMES)
        confidence = table.number("confidence", above=0.0, high=SUREST)
        name = table.text("name", longest=100)
        word = table.word("metric", tuple(METRICS), "metric", required='"ttft_s.p95"')
        metric = METRICS[word] if word else None
        low, high = _bound(table, "min", metric), _bound(table, "max", metric)
        if "min" not in table and "max" not in table:
            table.refuse(None, "gate has neither min nor max", "add max = ... or min = ...")
        if low is not None and high is not None and low > high:
            table.refuse("min", f"gate has min {low:g} above max {high:g}", "swap them or remove one")
        if metric is None:
            continue
        for need in missing_needs(metric, workload, arrivals, any_fault, "search" in top):
            table.refuse("metric", f"this scenario cannot measure {metric.name}", f"it needs {need.value}")
        sequential, over = _sequential(table, metric, uneven), _over(table, metric)
        phase = _phase(table, metric, any_fault)
        what_of = metric.name if over is Over.SERVED else f"{metric.name} of all planned"
        what_of += "" if phase is Phase.WHOLE else f" {phase}"
        for side in ("min", "max"):
            if side in table and (what_of, side) in seen:
                what = f"duplicate gate: {what_of} has a {side} already (line {seen[what_of, side]})"
                table.refuse(side, what, "keep one of them")
            elif side in table:
                seen[what_of, side] = table.line
        gates.append(GateSpec(metric.name, low, high, confidence or 0.95, name or what_of, sequential, over, phase))
    return tuple(gates)


def _sequential(table: Table, metric: Metric, uneven: str) -> bool:
    if not table.flag("sequential"):
        return False
    if why := why_not_sequential(metric.name):
        table.refuse("sequential", f"{metric.name} cannot be decided while the run goes on: {why}", "remove sequential")
    elif uneven:
        what = f"a run that may end early must be alike all along, and {uneven}"
        table.refuse("sequential", what, "remove sequential, or make the run steady")
    return True


def _over(table: Table, metric: Metric) -> Over:
    word = table.word("over", tuple(Over), "set of requests")
    if word == Over.PLANNED and metric.family not in FROM_DUE:
        what = f"{metric.name} is not something that every planned request should have"
        table.refuse("over", what, f"remove over; it is for {', '.join(sorted(FROM_DUE))}")
    return Over(word or Over.SERVED)


def _phase(table: Table, metric: Metric, any_fault: bool) -> Phase:
    word = table.word("phase", tuple(Phase), "phase")
    if word in (None, Phase.WHOLE):
        return Phase.WHOLE
    if not any_fault:
        what = f"without faults there is nothing {word} them"
        table.refuse("phase", what, "remove phase, or add [[faults]] or a [matrix]")
    elif why := why_no_phase(metric.name):
        table.refuse("phase", f"{metric.name} cannot be taken of a part: {why}", "remove phase")
    return Phase(word)


def _bound(table: Table, key: str, metric: Metric | None) -> float | None:
    """A gate's bound in the unit of its metric."""
    if metric is None:
        return None
    if metric.unit == "s":
        return table.duration(key, low=0.0)
    if metric.kind is MetricKind.RATE:
        return table.number(key, low=0.0, high=1.0)
    return table.number(key)
