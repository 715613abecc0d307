"""What a scenario will do, before it does it: its facts, and a small plot of its arrivals. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from console.fault_facts import fault_facts, fault_line, safety_facts, safety_lines
from scenarios.definition import GateSpec, Phase, Scenario
from scenarios.describe import arrivals_in_words, clients_in_words, part_in_words, peak_rate, tenants_in_words
from scenarios.metrics import METRICS, MetricKind
from scenarios.report.layout import cut, field, pad, wrapped
from scenarios.report.words import of_metric, one_line, seconds, share

_ROWS = 6
_GUTTER = 8
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def outline(scenario: Scenario, seed: int, plan_hash: str, requests: int) -> dict[str, Any]:
    """The facts of a scenario and its plan, as `scenarios show --json` prints them; a duration of 0 is not known."""
    arrivals, workload = scenario.arrivals, scenario.workload
    return {
        "name": scenario.name,
        "about": scenario.about,
        "seed": seed,
        "plan_hash": plan_hash,
        "requests": requests,
        "duration_s": arrivals.duration_s,
        "arrivals": arrivals.kind.value,
        "arrivals_are": arrivals_in_words(arrivals),
        "peak_rate": peak_rate(arrivals),
        "workload": dict(workload.mix),
        "settings": {name: part_in_words(part) for name, part in workload.parts},
        "tenants": {tenant.name: tenant.weight for tenant in workload.tenants},
        "tenants_are": tenants_in_words(workload.tenants),
        "clients": clients_in_words(workload.clients),
        "drift": None if workload.drift is None else [workload.drift.start, workload.drift.end],
        "safety_share": workload.safety_share,
        "slo": {"ttft_s": scenario.slo.ttft_s, "tpot_s": scenario.slo.tpot_s, "e2e_s": scenario.slo.e2e_s},
        "search": None if scenario.search is None else dataclasses.asdict(scenario.search),
        "faults": [fault_facts(fault) for fault in scenario.faults],
        "matrix": None if scenario.matrix is None else dataclasses.asdict(scenario.matrix),
        "chaos": None if scenario.chaos is None else dataclasses.asdict(scenario.chaos),
        **safety_facts(scenario),
        "gates": [_gate(gate) for gate in scenario.gates],
    }


def _gate(gate: GateSpec) -> dict[str, Any]:
    metric = METRICS.get(gate.metric)
    sides = ((">=", gate.minimum), ("<=", gate.maximum))
    return {
        "name": gate.name or gate.metric,
        "metric": gate.metric,
        "bound": " and ".join(f"{sign} {of_metric(gate.metric, value)}" for sign, value in sides if value is not None),
        "phase": None if gate.phase is Phase.WHOLE else gate.phase.value,
        "confidence": None if metric and metric.kind is MetricKind.VALUE else gate.confidence,
        "means": metric.about if metric else gate.metric,
    }


def outline_text(facts: dict[str, Any], due_s: Sequence[float], width: int) -> str:
    """The facts for a person."""
    return "\n".join(cut(line.rstrip(), width) for line in _lines(facts, due_s, width)) + "\n"


def _lines(facts: dict[str, Any], due_s: Sequence[float], width: int) -> Iterator[str]:
    yield one_line(facts["name"])
    yield from wrapped(one_line(facts["about"]), width)
    yield ""
    planned = f"{facts['requests']:,} requests"
    if facts["duration_s"]:
        planned += f" in {seconds(facts['duration_s'])}"
    seed = f"seed {facts['seed']}, hash {facts['plan_hash'][:16]}"
    if facts["search"]:
        yield from field("Search", _search(facts), width)
    else:
        arrivals = [f"arrivals {facts['arrivals']}", *map(one_line, facts["arrivals_are"])]
        yield from field("Plan", [planned, *arrivals, seed], width)
    total = sum(facts["workload"].values()) or 1.0
    workload = [f"{one_line(name)} {share(weight / total)}" for name, weight in facts["workload"].items()]
    if facts["safety_share"]:
        workload.append(f"{share(facts['safety_share'])} of all probe safety")
    yield from field("Workload", workload, width)
    for name, words in facts["settings"].items():
        first, *others = map(one_line, words)
        yield from field("", [f"{one_line(name)}: {first}", *others], width)
    for title in ("Tenants", "Clients"):
        words = facts["tenants_are"] if title == "Tenants" else facts["clients"]
        if words:
            yield from field(title, list(map(one_line, words)), width)
    if facts["drift"]:
        start, end = (seconds(fraction * facts["duration_s"]) for fraction in facts["drift"])
        yield from field("Drift", [f"the world turns from {start} to {end} (era A to era B)"], width)
    slo = [f"{name.removesuffix('_s')} {seconds(value)}" for name, value in facts["slo"].items() if value is not None]
    yield from field("SLO", slo or ["none"], width)
    for fault in facts["faults"]:
        yield from field("Fault", fault_line(fault), width)
    if facts["chaos"]:
        yield from field("Chaos", _chaos(facts["chaos"]), width)
    if facts["faults"] or facts["abort"]:
        yield from safety_lines(facts, width)
    if facts["duration_s"] and not facts["search"]:
        yield ""
        yield "Arrivals, requests per second"
        yield from plot(due_s, max(facts["duration_s"], due_s[-1]), min(width, 80))
    yield ""
    yield "Gates" if facts["gates"] else "No gates: nothing will be judged."
    for gate in facts["gates"]:
        sure = "" if gate["confidence"] is None else f" at {share(gate['confidence'])} confidence"
        yield f"  {pad(one_line(gate['name']), 22)}  {gate['bound']}{sure}"
        yield from wrapped(one_line(gate["means"]), width, " " * 26)


def _chaos(chaos: dict[str, Any]) -> list[str]:
    kinds = f"{len(chaos['kinds'])} kinds of faults" if chaos["kinds"] else "every kind of fault"
    return [
        f"{seconds(chaos['budget_s'])} of searching",
        f"tries of up to {chaos['most_faults']} faults and {chaos['most_requests']} requests",
        kinds,
    ]


def _search(facts: dict[str, Any]) -> list[str]:
    search = facts["search"]
    bounds = [
        f"{word} {search[key]:g}/s" for key, word in (("low", "from"), ("high", "up to")) if search[key] is not None
    ]
    return [
        f"the highest rate at which {share(search['share'])} of all requests meet the SLO",
        f"at most {search['probes']} probes of {seconds(search['probe_s'])} in {seconds(facts['duration_s'])}",
        f"starting at {facts['peak_rate']:g}/s",
        *bounds,
        f"arrivals {facts['arrivals']}",
        f"seed {facts['seed']}",
    ]


def plot(due_s: Sequence[float], duration_s: float, width: int) -> list[str]:
    """Arrivals over time as columns of blocks on a scale from zero, with rate and time labels."""
    columns = max(10, width - _GUTTER - 1)
    edges = [duration_s * i / columns for i in range(columns + 1)]
    counts = [0] * columns
    for due in due_s:
        counts[min(columns - 1, max(0, int(due / duration_s * columns)))] += 1
    rates = [count / (high - low) for count, (low, high) in zip(counts, pairwise(edges), strict=True)]
    top = max(rates, default=0.0) or 1.0
    lines = []
    for row in range(_ROWS, 0, -1):
        label = f"{top * row / _ROWS:>{_GUTTER - 1}.3g}" if row in (_ROWS, _ROWS // 2) else " " * (_GUTTER - 1)
        fills = (min(8, max(0, round((rate / top * _ROWS - row + 1) * 8))) for rate in rates)
        lines.append(f"{label} │" + "".join(_EIGHTHS[fill] for fill in fills))
    lines.append(f"{'0':>{_GUTTER - 1}} └" + "─" * columns)
    end = seconds(duration_s)
    lines.append(" " * (_GUTTER + 1) + "0 s" + f"{end:>{columns - 3}}")
    return lines
