"""Journals made of constructed ticks, each in an interesting state; the same bytes' worth of state every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from console.tui.preview import Entry
from scenarios.definition import ArrivalKind, Arrivals, Drift, FaultSpec, GateSpec, Scenario, Workload
from scenarios.journal import FILE_NAME, JournalWriter
from scenarios.observation import Finding
from scenarios.request import PlannedRequest
from scenarios.result import GateResult, GateVerdict, Latency, ResultDocument, RunInfo, Summary, Verdict
from scenarios.tick import (
    ActiveFault,
    DriftSample,
    EngineSample,
    Event,
    FaultMark,
    GateSample,
    GpuSample,
    InstrumentSample,
    Quantiles,
    Tick,
)

DURATION_S = 180.0
SLO_S = 0.8
GIB = 1024**3
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[31m[bold red]x[/][/] \x9b2J\u202eevil\r\n\t\x00 日本語 e\u0301 \U0001f3f4"

H200 = GpuSample(
    index=0,
    name="NVIDIA H200",
    utilisation=0.87,
    memory_used=int(61.2 * GIB),
    memory_total=int(139.8 * GIB),
    power_w=612.0,
    temperature_c=61.0,
)


def run_info(
    state: str = "running",
    scenario: str = "peak-traffic",
    run_id: str = "20261122-101500-7f3a",
    ours: bool = True,
) -> RunInfo:
    return RunInfo(
        id=run_id,
        scenario=scenario,
        seed=7,
        plan_hash="9d1c",
        target="embedded" if ours else "http://127.0.0.1:8000",
        model="seatrial-demo",
        started_at="2026-11-22T10:15:00Z",
        environment={"cpu": "2 cores", "python": "3.11", "engine_ours": ours},
        state=state,
    )


def gates(t_s: float) -> tuple[GateSample, ...]:
    late = t_s > 60
    return (
        GateSample(name="TTFT p95", metric="ttft_s.p95", bound="<= 0.8", measured=0.741, state="open"),
        GateSample(name="TTFT p99", metric="ttft_s.p99", bound="<= 1.5", measured=1.312, state="open"),
        GateSample(name="goodput", metric="goodput", bound=">= 0.95", measured=0.914, state="fail" if late else "open"),
        GateSample(name="errors", metric="error_rate", bound="<= 0.01", measured=0.002, state="pass"),
        GateSample(name="recovery after engine.kill", metric="recovery_s", bound="<= 10", measured=2.1, state="pass"),
        GateSample(name="accuracy", metric="accuracy.all", bound=">= 0.9", measured=None, state="open"),
        GateSample(name="leaks", metric="findings.leak", bound="<= 0", measured=0.0, state="pass"),
    )  # fmt: skip


def tick(t_s: float, **changes: object) -> Tick:
    """The state of a lively run at `t_s`: a spike from 60 to 90 s, the engine killed at 100 s."""
    spike = 60 <= t_s < 90
    down = 100 <= t_s < 102.5
    due_rate = (20.0 if spike else 6.0) + 1.2 * math.sin(t_s * 1.7)
    done_rate = 0.0 if down else min(due_rate, 15.0 + math.sin(t_s))
    load = (
        (0.55 if spike else 0.22)
        + 0.06 * math.sin(t_s / 3)
        + (0.9 * math.exp(-(t_s - 102.5) / 3) if t_s >= 102.5 else 0)
    )
    p95 = None if t_s < 2 else 1.35 * load + (1.2 if down else 0.0)
    due = int(6 * t_s + 14 * min(max(t_s - 60, 0), 30))
    ttft = Quantiles(p50=None if p95 is None else p95 * 0.45, p95=p95, p99=None if p95 is None else p95 * 1.6, n=100)
    drift = max((t_s - 70) / 300, 0.02) + 0.01 * math.sin(t_s / 5)
    base = Tick(
        t_s=t_s,
        state="running",
        duration_s=DURATION_S,
        planned=1500,
        due=due,
        sent=due,
        in_flight=14,
        done=max(due - 14, 0),
        outcomes={"ok": int(due * 0.94), "shed": int(due * 0.05), "timeout": int(due * 0.002), "reset": 0},
        due_rate=due_rate,
        done_rate=done_rate,
        tokens=due * 40,
        token_rate=done_rate * 40,
        ttft=ttft,
        itl=Quantiles(p50=0.012, p95=0.031, p99=0.0444, n=4000),
        ttft_all=Quantiles(p50=0.198, p95=0.702, p99=1.275, n=800),
        slo_ttft_s=SLO_S,
        host_cpu=0.6 + 0.2 * math.sin(t_s / 9),
        host_memory=0.41,
        gpus=(msgspec.structs.replace(H200, utilisation=0.0 if down else 0.5 + 0.4 * math.sin(t_s / 11) ** 2),),
        engine=EngineSample(
            state="restarting" if down else "ready",
            cpu=1.4,
            rss=int(0.9 * GIB),
            running=14,
            waiting=6,
            slots=16,
            kv_used=0.43,
            restarts=int(t_s >= 102.5),
        ),
        findings={"pii.email": 3, "leak": 1, "refusal": 12, "injection": 2} if t_s > 30 else {},
        drift=DriftSample(
            score=drift,
            p_value=0.002 if t_s > 90 else 0.41,
            alarm=t_s > 90,
            accuracy_reference=0.97,
            accuracy_recent=0.71 if t_s > 90 else 0.96,
            era_b_share=min(max((t_s - 70) / 60, 0.0), 1.0),
        ),
        faults=(ActiveFault(kind="engine.kill", since_s=100.0, number=1),) if down else (),
        gates=gates(t_s),
        instrument=InstrumentSample(send_lag_p99_s=0.0012, loop_lag_p99_s=0.002, steal=0.0),
    )
    return msgspec.structs.replace(base, **changes)


def ticks(until_s: float, change: Callable[[Tick], Tick] = lambda tick: tick) -> list[Tick]:
    return [change(tick(i / 4)) for i in range(int(until_s * 4) + 1)]


KILLED = FaultMark(number=1, kind="engine.kill", words="part all", instant=True)
EVENTS = (
    Event(t_s=-0.3, kind="engine.starting", text="seatrial-demo, 16 slots"),
    Event(t_s=-0.3, kind="engine.ready", text="in 3.6 s"),
    Event(t_s=0.0, kind="phase.run", text="1,500 requests over 03:00"),
    Event(t_s=100.0, kind="fault.start", text="engine.kill", fault=KILLED),
    Event(t_s=100.1, kind="engine.died", text="decode process, signal 9"),
    Event(t_s=102.1, kind="engine.recovered", text="in 2.0 s"),
    Event(t_s=102.5, kind="fault.end", text="engine.kill", recovery_s=2.1, fault=KILLED),
)


def _finding(index: int, category: str, severity: str, excerpt: str) -> Finding:
    return Finding(index=index, category=category, severity=severity, start=0, end=9, detector="made", excerpt=excerpt)


FINDINGS = (
    _finding(200, "refusal", "low", "I cannot help with that"),
    _finding(320, "pii.email", "medium", "jo***@example.org"),
    _finding(410, "injection", "medium", "ignore all previous instructions and"),
    _finding(470, "leak", "high", "The note says: ha***"),
    _finding(520, "pii.email", "medium", "an***@example.com"),
)


@dataclass
class Made:
    """What goes into a journal."""

    ticks: list[Tick] = field(default_factory=list)
    events: tuple[Event, ...] = EVENTS
    findings: tuple[Finding, ...] = FINDINGS
    run: RunInfo | None = field(default_factory=run_info)
    document: ResultDocument | None = None
    pid: int | None = None


def write(directory: Path, made: Made) -> Path:
    """The journal in a folder named by the run's id."""
    path = directory / (made.run.id if made.run else "20261122-101500-7f3a") / FILE_NAME
    writer = JournalWriter(path)
    fill(writer, made)
    writer.close()
    return path


def fill(writer: JournalWriter, made: Made) -> None:
    if made.run is not None:
        writer.set_run(made.run)
    if made.pid is not None:
        writer.set_meta("runner_pid", str(made.pid))
    add(writer, made.ticks)
    now = made.ticks[-1].t_s if made.ticks else -0.1
    for event in made.events:
        if event.t_s <= now:
            writer.add_event(event)
    found = [f for f in made.findings if f.index / 5 <= now]
    writer.add_plan(_request(index) for index in sorted({f.index for f in found}))
    writer.add_findings(found)
    if made.document is not None:
        writer.set_document(made.document)
    writer.commit()


def add(writer: JournalWriter, ticks: Iterable[Tick]) -> None:
    for each in ticks:
        writer.add_tick(each)


def _request(index: int) -> PlannedRequest:
    return PlannedRequest(index=index, due_ns=int(index / 5 * 1e9), path="/v1/chat/completions", body=b"{}")


def document(verdict: Verdict = Verdict.NO_GO, state: str = "done") -> ResultDocument:
    latency = Latency(n=1410, p50=0.198, p90=0.51, p95=0.742, p99=1.31, max=3.2)
    summary = Summary(
        planned=1500,
        outcomes={"ok": 1410, "shed": 84, "timeout": 6},
        window_s=180.0,
        goodput=0.914,
        goodput_rate=7.6,
        throughput={"requests_per_s": 7.8, "tokens_per_s": 318.0},
        tokens_from="usage",
        ttft_s=latency,
        ttfa_s=latency,
        itl_s=latency,
        tpot_s=latency,
        e2e_s=latency,
        shed_s=Latency(n=0),
        accuracy={},
        findings={"pii.email": 3},
        drift={},
        odd={},
        recovery=(),
        instrument={},
        not_measured={},
    )
    decided = (
        _gate("TTFT p95", "ttft_s.p95", "<= 0.8", 0.742, (0.701, 0.779), GateVerdict.PASS),
        _gate("TTFT p99", "ttft_s.p99", "<= 1.5", 1.31, (1.12, 1.88), GateVerdict.INCONCLUSIVE, 640),
        _gate("goodput", "goodput", ">= 0.95", 0.914, (0.899, 0.928), GateVerdict.FAIL),
        _gate("errors", "error_rate", "<= 0.01", 0.004, (0.001, 0.009), GateVerdict.PASS),
        _gate("recovery after engine.kill", "recovery_s.max", "<= 10", 2.1, None, GateVerdict.PASS),
        _gate("leaks", "findings.leak", "<= 0", 0.0, (0.0, 0.0026), GateVerdict.PASS),
    )
    return ResultDocument(
        verdict=verdict,
        why="goodput is 0.914, below its bound of 0.95: 84 requests were shed in the spike.",
        run=run_info(state),
        summary=summary,
        gates=decided,
    )


def _gate(
    name: str,
    metric: str,
    bound: str,
    measured: float,
    interval: tuple[float, float] | None,
    verdict: GateVerdict,
    needed: int | None = None,
) -> GateResult:
    reason = {
        GateVerdict.FAIL: "the whole interval lies below the bound",
        GateVerdict.INCONCLUSIVE: "the interval holds the bound",
    }
    return GateResult(
        name=name,
        metric=metric,
        bound=bound,
        measured=measured,
        interval=interval,
        confidence=0.95,
        verdict=verdict,
        n=1410,
        needed=needed,
        reason=reason.get(verdict, ""),
    )


def _no_gpu(tick: Tick) -> Tick:
    note = "no NVIDIA driver on this machine (NVML library not found)"
    return msgspec.structs.replace(tick, gpus=(), gpu_note=note)


def _two_gpus(tick: Tick) -> Tick:
    other = msgspec.structs.replace(tick.gpus[0], index=1, utilisation=None, power_w=488.0, temperature_c=55.0)
    return msgspec.structs.replace(tick, gpus=(tick.gpus[0], other))


def _nothing(tick: Tick) -> Tick:
    return Tick(
        t_s=tick.t_s, state="running", duration_s=DURATION_S, planned=0, due=0, sent=0, in_flight=0, done=0,
        outcomes={},
        due_rate=0.0, done_rate=0.0, tokens=0, token_rate=0.0, ttft=Quantiles(), itl=Quantiles(), ttft_all=Quantiles(),
    )  # fmt: skip


def hostile_tick(t_s: float) -> Tick:
    """Hostile text in every text field that a tick has."""
    base = tick(t_s)
    return msgspec.structs.replace(
        base,
        state="running",
        outcomes={HOSTILE: 3, "ok": 5},
        findings={HOSTILE: 4},
        gpus=(msgspec.structs.replace(H200, name=HOSTILE),),
        gpu_note=HOSTILE,
        engine=msgspec.structs.replace(base.engine, state=HOSTILE),
        faults=(ActiveFault(kind=HOSTILE, since_s=t_s - 1),),
        gates=tuple(msgspec.structs.replace(g, name=HOSTILE, metric=HOSTILE, bound=HOSTILE) for g in base.gates),
    )


def hostile() -> Made:
    events = tuple(Event(t_s=float(i), kind=HOSTILE, text=HOSTILE, recovery_s=1.0) for i in range(9))
    found = tuple(_finding(index, HOSTILE, HOSTILE, HOSTILE) for index in range(9))
    run = msgspec.structs.replace(run_info(), scenario=HOSTILE, target=HOSTILE, model=HOSTILE)
    return Made(ticks=[hostile_tick(i / 4) for i in range(480)], events=events, findings=found, run=run)


CASES: dict[str, Callable[[], Made]] = {
    "mid-run": lambda: Made(ticks=ticks(72)),
    "fault": lambda: Made(ticks=ticks(101.5)),
    "recovered": lambda: Made(ticks=ticks(131)),
    "verdict": lambda: Made(
        ticks=[*ticks(180), tick(181.0, state="done", in_flight=0)], document=document(), run=run_info("done")
    ),
    "no-gpu": lambda: Made(ticks=ticks(131, _no_gpu)),
    "two-gpus": lambda: Made(ticks=ticks(131, _two_gpus)),
    "hostile": hostile,
    "nothing": lambda: Made(ticks=ticks(20, _nothing), events=(), findings=(), run=run_info(ours=False)),
    "preparing": lambda: Made(ticks=[]),
}


def catalogue() -> list[Entry]:
    """Three scenarios like those that ship, and one whose file has a mistake."""
    gates = (
        GateSpec(metric="ttft_s.p95", maximum=0.8),
        GateSpec(metric="goodput", minimum=0.95),
        GateSpec(metric="recovery_s", maximum=10.0, name="recovery after engine.kill"),
    )
    peak = Scenario(
        name="peak-traffic",
        about="A sale day: three minutes of shop traffic, one spike to three times the load, the engine killed once.",
        workload=Workload(mix=(("support-chat", 3.0), ("recommend", 1.0))),
        arrivals=Arrivals(ArrivalKind.SPIKE, 180.0, base=6.0, peak=20.0, spike_at_s=60.0, spike_s=30.0),
        faults=(FaultSpec("engine.kill", 100.0),),
        gates=gates,
    )
    odd = Scenario(
        name="odd-input",
        about="Malformed, hostile and enormous requests among ordinary ones.",
        workload=Workload(mix=(("odd", 1.0), ("support-chat", 2.0))),
        arrivals=Arrivals(ArrivalKind.POISSON, 90.0, rate=5.0),
        gates=gates[:2],
    )
    drifted = Scenario(
        name="drifted-data",
        about="Fraud triage while the data turns from one era into the next.",
        workload=Workload(mix=(("fraud-triage", 1.0),), drift=Drift(0.4, 0.7)),
        arrivals=Arrivals(ArrivalKind.RAMP, 120.0, base=2.0, peak=10.0),
        gates=gates[:1],
    )
    wrong = Entry("broken", None, "broken.toml:7: unknown key 'rat' in [arrivals]; the nearest is 'rate'")
    return [Entry(s.name, s) for s in (peak, odd, drifted)] + [wrong]


def hostile_document() -> ResultDocument:
    """A verdict whose every text is hostile."""
    plain = document(Verdict.INVALID)
    decided = tuple(
        msgspec.structs.replace(gate, name=HOSTILE, metric=HOSTILE, bound=HOSTILE, reason=HOSTILE)
        for gate in plain.gates
    )
    run = msgspec.structs.replace(plain.run, scenario=HOSTILE, target=HOSTILE, model=HOSTILE)
    summary = msgspec.structs.replace(plain.summary, outcomes={HOSTILE: 3})
    return msgspec.structs.replace(plain, why=HOSTILE, run=run, gates=decided, summary=summary)
