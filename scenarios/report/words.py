"""How reports write verdicts, numbers and names: the same words and units everywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scenarios.metrics import METRICS
from scenarios.result import GateResult, GateVerdict, Latency, RunInfo, Summary, Verdict
from scenarios.sanitise import view
from scenarios.tick import Event

VERDICT_GLYPH = {Verdict.GO: "✓", Verdict.NO_GO: "✗", Verdict.INCONCLUSIVE: "?", Verdict.INVALID: "!"}
VERDICT_ROLE = {Verdict.GO: "good", Verdict.NO_GO: "bad", Verdict.INCONCLUSIVE: "warn", Verdict.INVALID: "warn"}
GATE_GLYPH = {GateVerdict.PASS: "✓", GateVerdict.FAIL: "✗", GateVerdict.INCONCLUSIVE: "?", GateVerdict.INVALID: "!"}
GATE_ROLE = {
    GateVerdict.PASS: "good",
    GateVerdict.FAIL: "bad",
    GateVerdict.INCONCLUSIVE: "warn",
    GateVerdict.INVALID: "warn",
}
_INSTRUMENT = {
    "send_lag_p50_s": "sent late p50",
    "send_lag_p99_s": "sent late p99",
    "send_lag_p999_s": "sent late p99.9",
    "send_lag_max_s": "sent late at most",
    "sent_late_share": "requests over 10 ms late",
    "stamp_lag_p50_s": "stamped late p50",
    "stamp_lag_p99_s": "stamped late p99",
    "stamp_lag_p999_s": "stamped late p99.9",
    "stall_max_s": "longest stall",
    "stall_max_at_s": "that was at",
    "stalled_share": "time in stalls over 10 ms",
    "worker_cpu_share": "worker busy",
    "run_wait_share": "worker waited for a CPU",
    "preempted_hz": "taken off its CPU per second",
    "gc_share": "garbage collector",
    "gc_max_s": "longest pause of it",
    "major_faults": "pages fetched from disk",
    "steal": "stolen by the hypervisor",
    "asleep_s": "machine suspended",
    "runner_stall_s": "runner stood still",
    "worker_deaths": "load workers that died",
    "proxy_deaths": "fault proxies that died",
    "through_proxy": "requests passed through the fault proxy",
}
"""What the facts of docs/measuring.md are called on a line, in their order there."""
NOTHING = "n/a"
_SELF_EXPLAINING = ("engine", "phase", "search")
LONGEST_TEXT = 300
LONGEST_WHY = 800
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def one_line(text: str, limit: int = LONGEST_TEXT) -> str:
    """Outside text as one safe line of at most `limit` characters."""
    return view(text, limit)


def seconds(value: float | None) -> str:
    """A span of time with the unit that suits it: 412 ms, 1.412 s, 180 s."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.001:
        return f"{value * 1e6:.3g} µs"
    if size < 1:
        return f"{value * 1e3:.4g} ms"
    return f"{value:.4g} s" if size < 1000 else f"{value:,.0f} s"


def share(value: float | None) -> str:
    """A share in percent; never rounded up to a whole that it is not."""
    if value is None:
        return NOTHING
    text = f"{value * 100:.4g}"
    if text == "100" and value < 1:
        text = f"{value * 100:.8g}"
    return f"{text} %"


def plain(value: float | None) -> str:
    """A number without a unit."""
    return NOTHING if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def of_metric(metric: str, value: float | None) -> str:
    """A metric's value in its unit."""
    known = METRICS.get(metric)
    unit = known.unit if known else "s" if metric.partition(".")[0].endswith("_s") else ""
    if unit == "1/s":
        return NOTHING if value is None else f"{value:.4g}/s"
    return seconds(value) if unit == "s" else share(value) if unit == "share" else plain(value)


def bound(gate: GateResult) -> str:
    """`<= 0.8` of a gate, its numbers in the metric's unit."""
    return _NUMBER.sub(lambda match: of_metric(gate.metric, float(match.group())), gate.bound)


def interval(gate: GateResult) -> str:
    """The confidence interval of what was measured; an open side is said in words."""
    if gate.interval is None:
        return ""
    low, high = gate.interval
    if low is None and high is None:
        return "open on both sides"
    if low is None:
        return f"up to {of_metric(gate.metric, high)}"
    if high is None:
        return f"from {of_metric(gate.metric, low)}"
    return f"{of_metric(gate.metric, low)} to {of_metric(gate.metric, high)}"


def because(gate: GateResult) -> str:
    """Why a gate stands where it does and what would settle it; empty when the numbers say it all."""
    parts = [gate.reason] if gate.reason else []
    if gate.needed is not None:
        parts.append(f"about {gate.needed:,} more requests would settle it")
    return one_line("; ".join(parts), LONGEST_WHY)


def keyed(key: str, value: object) -> str:
    """A value of a free mapping in the unit that its key names."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if key.endswith("_s"):
            return seconds(value)
        is_share = key.endswith(("share", "steal", "rate")) or key.startswith("accuracy")
        return share(value) if is_share else plain(value)
    return one_line(str(value), 60)


def latencies(summary: Summary) -> tuple[tuple[str, Latency], ...]:
    """The latencies that were measured, under the names that people know."""
    named = (
        ("TTFT", summary.ttft_s),
        ("TTFA", summary.ttfa_s),
        ("ITL", summary.itl_s),
        ("TPOT", summary.tpot_s),
        ("E2E", summary.e2e_s),
        ("shed", summary.shed_s),
    )
    return tuple((name, latency) for name, latency in named if latency.n)


def throughputs(summary: Summary) -> list[str]:
    """`1.75 requests/s` for each rate, in four digits."""
    return [
        f"{plain(None if value is None else float(f'{value:.4g}'))} {one_line(key, 60).replace('_per_s', '/s')}"
        for key, value in summary.throughput.items()
    ]


def recoveries(summary: Summary) -> list[str]:
    """One sentence for each disturbance, save faults, which have a table of their own."""
    told = {fault.kind for fault in summary.faults}
    return [
        f"{one_line(r.cause, 60)} at {seconds(r.at_s)}: "
        + ("not back inside the SLO in this run" if r.recovered_s is None else f"back after {seconds(r.recovered_s)}")
        for r in summary.recovery
        if r.cause not in told
    ]


def models(summary: Summary) -> list[str]:
    """Each name of model and fingerprint with its answers, where there is more than one."""
    names = summary.fingerprints
    return [f"{one_line(name, 60)} {count:,}" for name, count in names.items()] if len(names) > 1 else []


def resumptions(run: RunInfo) -> list[str]:
    """One sentence for each time that the run was resumed."""
    return [
        f"at {seconds(one.at_s)} after a gap of {seconds(one.gap_s)}, {one.left:,} requests left, {one.lost:,} lost"
        for one in run.resumed
    ]


def accuracies(summary: Summary) -> list[str]:
    """`support-chat 98 % of 120` for each slice with known answers; the eras apart only where there are two."""
    rows = {name: row for name, row in summary.accuracy.items() if row.get("n")}
    two_eras = any(name.endswith("/B") for name in rows)
    return [
        f"{one_line(name, 60)} {share(row.get('rate'))} of {plain(row.get('n'))}"
        for name, row in rows.items()
        if two_eras or "/" not in name
    ]


def listed(mapping: Mapping[str, object]) -> list[str]:
    """`name value` for each entry of a free mapping that has a value."""
    return [f"{one_line(key, 60)} {keyed(key, value)}" for key, value in mapping.items() if value is not None]


def noise_floor(summary: Summary) -> list[str]:
    """What the machine could measure before the run, and how that was found out; empty when it was not measured."""
    facts = summary.instrument
    found = [
        f"{what} {keyed(f'{key}_p50_s', facts[f'{key}_p50_s'])} p50, {keyed(f'{key}_p99_s', facts[f'{key}_p99_s'])} p99"
        for what, key in (("stamps", "noise_floor"), ("sends", "noise_send"), ("timer", "timer"))
        if facts.get(f"{key}_p50_s") is not None and facts.get(f"{key}_p99_s") is not None
    ]
    return [*found, f"by {one_line(str(facts['preflight']), 60)}"] if found and facts.get("preflight") else found


def instrument(summary: Summary) -> list[str]:
    """The harness's own error and what caused it; what is nought is not listed."""
    floor = ("noise_floor", "noise_send", "timer", "preflight")
    facts = {key: value for key, value in summary.instrument.items() if not key.startswith(floor)}
    return [
        f"{_INSTRUMENT.get(key, one_line(key, 60))} {keyed(key, value)}"
        for key, value in facts.items()
        if value is not None and value != 0
    ]


def odd(summary: Summary) -> list[str]:
    """The odd probes; empty when there were none."""
    return listed(summary.odd) if summary.odd.get("probes") else []


def window(summary: Summary) -> list[str]:
    """From when to when the numbers speak, and what was left out of them; empty for a run in which nothing was sent."""
    window = summary.window
    if window.end_s <= window.start_s:
        return []
    parts = [f"{seconds(window.start_s)} to {seconds(window.end_s)}"]
    if window.excluded:
        parts.append(f"{summary.planned - window.excluded:,} of {summary.planned:,} requests due in it")
    return [*parts, one_line(window.note)] if window.note else parts


def event(event: Event) -> str:
    """What happened, on one line; engine and phase events say it in their text, the others need their kind as well."""
    kind, text = one_line(event.kind, 40), one_line(event.text, 160)
    if not text or event.kind.partition(".")[0] not in _SELF_EXPLAINING:
        text = f"{kind}: {text}" if text else kind
    return text if event.recovery_s is None else f"{text} (recovered after {seconds(event.recovery_s)})"


def goodput_of(summary: Summary) -> str:
    """What the goodput is a share of: odd probes are set aside."""
    planned = "of all planned" if not summary.odd.get("probes") else "of the planned ones that are no odd probes"
    return f"{planned} in the window" if summary.window.excluded else planned
