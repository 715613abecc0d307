"""Each section of a scenario file: its keys, their ranges, and what must agree between them. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from scenarios.arrivals import expected_count
from scenarios.definition import (
    ArrivalKind,
    Arrivals,
    Drift,
    EngineSettings,
    FaultSpec,
    GateSpec,
    Scenario,
    Slo,
    Workload,
)
from scenarios.metrics import METRICS, ODD_PROFILE, Metric, MetricKind, missing_needs
from scenarios.profiles import PROFILES
from scenarios.toml_table import Table, suggestion

MOST_REQUESTS = 1_000_000
LONGEST_S = 7 * 86400.0
FASTEST = 100_000.0  # requests per second
SUREST = 0.999999
UNKNOWN_DRIFT = Drift(0.0, 1.0)  # stands in for one that could not be read: gates on drift are not a second mistake

TOP_KEYS = ("name", "about", "timeout", "workload", "arrivals", "slo", "engine", "faults", "gates")
WORKLOAD_KEYS = ("profile", "mix", "drift", "safety_share")
DRIFT_KEYS = ("start", "end")
SLO_KEYS = ("ttft_s", "tpot_s", "e2e_s")
ENGINE_KEYS = ("slots", "ctx", "queue_limit", "threads")
GATE_KEYS = ("metric", "max", "min", "confidence", "name")
# kind -> its keys, each with an example; an empty example: the key may be left out
ARRIVAL_KEYS: Mapping[ArrivalKind, Mapping[str, str]] = MappingProxyType(
    {
        ArrivalKind.CONSTANT: {"rate": "4.0"},
        ArrivalKind.POISSON: {"rate": "4.0"},
        ArrivalKind.GAMMA: {"rate": "4.0", "cv": ""},
        ArrivalKind.RAMP: {"base": "1.0", "peak": "20.0"},
        ArrivalKind.SPIKE: {"base": "4.0", "peak": "20.0", "spike_at": "", "spike_for": ""},
    }
)
ALL_ARRIVAL_KEYS = ("kind", "duration", "rate", "cv", "base", "peak", "spike_at", "spike_for")
# Where a spike stands when its author does not say: shares of the run's duration.
SPIKE_AT, SPIKE_FOR = 0.4, 1 / 6
# kind -> parameter -> allowed values, the first one being the default
FAULT_KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"engine.kill": MappingProxyType({"part": ("all", "api", "decode")})}
)
PROFILE_NAMES = (*PROFILES, ODD_PROFILE)

# Where a key that was put under the wrong table belongs.
_HOMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(TOP_KEYS, "the top of the file"),
        **dict.fromkeys(WORKLOAD_KEYS, "[workload]"),
        **dict.fromkeys(ALL_ARRIVAL_KEYS, "[arrivals]"),
        **dict.fromkeys(SLO_KEYS, "[slo]"),
        **dict.fromkeys(ENGINE_KEYS, "[engine]"),
        **dict.fromkeys(("metric", "max", "min", "confidence"), "[[gates]]"),
        **dict.fromkeys(("at", "part"), "[[faults]]"),
    }
)


def read_top(top: Table, text: str) -> Scenario | None:
    """The scenario; None only when a mistake was noted."""
    top.refuse_unknown(TOP_KEYS, _HOMES)
    name = top.text("name", required='"my-trial"', longest=100)
    about = top.text("about") or ""
    timeout_s = top.duration("timeout", above=0.0, high=3600.0)
    workload = _read_workload(top)
    arrivals = _read_arrivals(top)
    faults = _read_faults(top, arrivals)
    gates = _read_gates(top, workload, arrivals)
    slo, engine = _read_slo(top), _read_engine(top)
    if name is None or workload is None or arrivals is None:
        return None
    scenario = Scenario(name, about, workload, arrivals, slo, engine, faults, gates, source=text)
    return scenario if timeout_s is None else dataclasses.replace(scenario, timeout_s=timeout_s)


def _read_workload(top: Table) -> Workload | None:
    table = top.table("workload", required='profile = "support-chat"')
    if table is None:
        return None
    table.refuse_unknown(WORKLOAD_KEYS, _HOMES)
    mix = _read_mix(table)
    share = table.number("safety_share", low=0.0, high=1.0)
    drift_table = table.table("drift")
    drift = _read_drift(drift_table) if drift_table else UNKNOWN_DRIFT if "drift" in table else None
    if drift_table and mix and not {name for name, weight in mix if weight > 0} - {ODD_PROFILE}:
        table.refuse("drift", "odd input cannot drift", "add an ordinary profile to mix, or remove drift")
    return None if mix is None else Workload(mix, drift, share or 0.0)


def _read_mix(table: Table) -> tuple[tuple[str, float], ...] | None:
    if "profile" in table and "mix" in table:
        table.refuse("mix", "profile and mix are both given", "keep one of them")
        return None
    if "mix" not in table:
        profile = table.word("profile", PROFILE_NAMES, "profile", required='"support-chat"')
        return None if profile is None else ((profile, 1.0),)
    weights = table.table("mix")
    if weights is None:
        return None
    read = {name: weights.number(name, low=0.0, high=1e6) for name in weights.keys if name in PROFILE_NAMES}
    for name in weights.keys:
        if name not in PROFILE_NAMES:
            weights.refuse(name, f"unknown profile {name[:60]!r}", suggestion(name, PROFILE_NAMES))
    mix = tuple((name, weight) for name, weight in read.items() if weight is not None)
    if len(mix) < len(weights.keys):
        return None
    if not any(weight > 0 for _, weight in mix):
        table.refuse("mix", "mix has no profile with a weight above 0", 'write mix = { "support-chat" = 1.0 }')
        return None
    return mix


def _read_drift(table: Table) -> Drift:
    table.refuse_unknown(DRIFT_KEYS, {})
    start = table.number("start", required="0.4", low=0.0, high=1.0)
    end = table.number("end", required="0.8", low=0.0, high=1.0)
    if start is None or end is None:
        return UNKNOWN_DRIFT
    if start > end:
        table.refuse("start", f"drift starts ({start:g}) after it ends ({end:g})", "make start at most end")
    elif start >= 1.0 or end <= 0.0:
        table.refuse("start", "drift leaves one of the two eras empty", "keep start below 1 and end above 0")
    return Drift(start, end)


def _read_arrivals(top: Table) -> Arrivals | None:
    table = top.table("arrivals", required='kind = "poisson", rate = 2.0 and duration = "1m"')
    if table is None:
        return None
    table.refuse_unknown(ALL_ARRIVAL_KEYS, _HOMES)
    word = table.word("kind", tuple(kind.value for kind in ArrivalKind), "arrival kind", required='"poisson"')
    duration_s = table.duration("duration", required='"1m"', above=0.0, high=LONGEST_S)
    if word is None:
        for key in ("rate", "base", "peak"):  # wrong for every kind
            table.number(key, low=0.0, high=FASTEST)
        return None
    kind = ArrivalKind(word)
    own = ARRIVAL_KEYS[kind]
    for key in ALL_ARRIVAL_KEYS[2:]:
        if key in table and key not in own:
            fix = f"{kind} takes {', '.join(own)} and duration"
            table.refuse(key, f"{key} does not belong to arrivals of kind {kind}", fix)
    rates: dict[str, float | None] = dict.fromkeys(("rate", "base", "peak"), 0.0)
    for key in rates.keys() & own.keys():
        floor = {"low": 0.0} if key == "base" else {"above": 0.0}  # base 0: nothing but the spike, a ramp from nothing
        rates[key] = table.number(key, required=own[key], high=FASTEST, **floor)
    cv = table.number("cv", low=0.05, high=10.0) if "cv" in own else None
    spike = _read_spike(table, duration_s) if kind is ArrivalKind.SPIKE else (0.0, 0.0)
    rate, base, peak = rates["rate"], rates["base"], rates["peak"]
    if duration_s is None or rate is None or base is None or peak is None or spike is None:
        return None
    arrivals = Arrivals(kind, duration_s, rate, base, peak, *spike, cv=1.0 if cv is None else cv)
    if kind is ArrivalKind.SPIKE and peak <= base:
        what = f"the spike's peak ({peak:g}) is not above its base ({base:g})"
        table.refuse("peak", what, "raise peak or lower base")
    if (count := expected_count(arrivals)) > MOST_REQUESTS:
        what = f"the plan would hold about {count:,.0f} requests"
        table.refuse("duration", what, f"stay under {MOST_REQUESTS:,}: lower the rate or the duration")
    return arrivals


def _read_spike(table: Table, duration_s: float | None) -> tuple[float, float] | None:
    """Start and length of the spike in seconds."""
    at_s = table.duration("spike_at", low=0.0)
    for_s = table.duration("spike_for", above=0.0)
    if duration_s is None or (at_s is None and "spike_at" in table) or (for_s is None and "spike_for" in table):
        return None
    at_s = duration_s * SPIKE_AT if at_s is None else at_s
    if at_s >= duration_s:
        what = f"the spike starts at {at_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_at", what, "start it earlier")
        return None
    if for_s is None:
        for_s = min(duration_s * SPIKE_FOR, duration_s - at_s)
    if at_s + for_s > duration_s + 1e-9:
        what = f"the spike ends at {at_s + for_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_for", what, f"make spike_for at most {duration_s - at_s:g}")
        return None
    return at_s, for_s


def _read_slo(top: Table) -> Slo:
    table = top.table("slo")
    if table is None:
        return Slo()
    table.refuse_unknown(SLO_KEYS, _HOMES)
    return Slo(**{key: table.duration(key, above=0.0, high=3600.0) for key in SLO_KEYS})


def _read_engine(top: Table) -> EngineSettings:
    table = top.table("engine")
    if table is None:
        return EngineSettings()
    table.refuse_unknown(ENGINE_KEYS, _HOMES)
    read = {
        "slots": table.whole("slots", low=1, high=256),
        "ctx": table.whole("ctx", low=64, high=1 << 20),
        "queue_limit": table.whole("queue_limit", low=0, high=100_000),
        "threads": table.whole("threads", low=0, high=1024),
    }
    return EngineSettings(**{key: value for key, value in read.items() if value is not None})


def _read_faults(top: Table, arrivals: Arrivals | None) -> tuple[FaultSpec, ...]:
    faults = []
    for table in top.tables("faults"):
        kind = table.word("kind", tuple(FAULT_KINDS), "fault kind", required='"engine.kill"')
        at_s = table.duration("at", required='"30s"', low=0.0)
        if arrivals and at_s is not None and at_s >= arrivals.duration_s:
            what = f"the fault starts at {at_s:g} s, after the end of the run ({arrivals.duration_s:g} s)"
            table.refuse("at", what, "start it earlier or make the run longer")
        if kind is None:
            continue
        known = FAULT_KINDS[kind]
        table.refuse_unknown(("kind", "at", *known), {})
        params = {name: table.word(name, values, name) or values[0] for name, values in known.items()}
        if at_s is not None:
            faults.append(FaultSpec(kind, at_s, tuple(params.items())))
    return tuple(faults)


def _read_gates(top: Table, workload: Workload | None, arrivals: Arrivals | None) -> tuple[GateSpec, ...]:
    seen: dict[tuple[str, str], int] = {}
    gates = []
    for table in top.tables("gates"):
        table.refuse_unknown(GATE_KEYS, _HOMES)
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
        for need in missing_needs(metric, workload, arrivals, "faults" in top):
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
