"""`[[gates]]`: by which bounds the run is judged."""

from __future__ import annotations

from scenarios.definition import Arrivals, GateSpec, Workload
from scenarios.metrics import METRICS, Metric, MetricKind, missing_needs
from scenarios.toml.keys import GATE_KEYS, HOMES
from scenarios.toml_table import Table

SUREST = 0.999999  # the highest confidence that can be asked for


def read_gates(top: Table, workload: Workload | None, arrivals: Arrivals | None) -> tuple[GateSpec, ...]:
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
        for need in missing_needs(metric, workload, arrivals, "faults" in top, "search" in top):
            table.refuse("metric", f"this scenario cannot measure {metric.name}", f"it needs {need.value}")
        for side in ("min", "max"):
            if side in table and (metric.name, side) in seen:
                what = f"duplicate gate: {metric.name} has a {side} already (line {seen[metric.name, side]})"
                table.refuse(side, what, "keep one of them")
            elif side in table:
                seen[metric.name, side] = table.line
        gates.append(GateSpec(metric.name, low, high, confidence or 0.95, name or metric.name))
    return tuple(gates)


def _bound(table: Table, key: str, metric: Metric | None) -> float | None:
    """A gate's bound in the unit of its metric."""
    if metric is None:
        return None
    if metric.unit == "s":
        return table.duration(key, low=0.0)
    if metric.kind is MetricKind.RATE:
        return table.number(key, low=0.0, high=1.0)
    return table.number(key)
