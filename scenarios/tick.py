"""What the live screen reads: one small record four times a second, so that its cost does not grow with the run."""

from __future__ import annotations

import msgspec


class Quantiles(msgspec.Struct, frozen=True):
    """p50, p95, p99 and the number of samples behind them; seconds. None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    n: int = 0


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU by NVML; None where the driver does not tell."""

    index: int
    name: str
    utilisation: float | None = None  # 0..1
    memory_used: int | None = None  # bytes
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttled: str = ""  # what holds its clocks down; empty also where the driver does not tell


class EngineSample(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's own view and its processes by psutil; None where the target is not ours."""

    state: str = "external"  # EngineState of the supervisor, or "external"
    cpu: float | None = None  # cores in use by the engine's processes
    rss: int | None = None  # bytes
    running: int | None = None
    waiting: int | None = None
    slots: int | None = None
    kv_used: float | None = None  # 0..1
    restarts: int = 0


class DriftSample(msgspec.Struct, frozen=True, kw_only=True):
    """Live drift of the input against the reference window, and accuracy against ground truth."""

    score: float | None = None  # Jensen-Shannon distance, 0..1, of recent input against the reference
    p_value: float | None = None  # permutation test
    alarm: bool = False
    accuracy_reference: float | None = None
    accuracy_recent: float | None = None
    era_b_share: float = 0.0


class GateSample(msgspec.Struct, frozen=True, kw_only=True):
    """A gate so far. state: "pass" | "fail" | "open"."""

    name: str
    metric: str
    bound: str  # "<= 0.8"
    measured: float | None
    state: str
    note: str = ""  # what stands in place of a number: "at the end"


class InstrumentSample(msgspec.Struct, frozen=True, kw_only=True):
    """The harness's own error so far, seconds."""

    preflight: float | None = None  # while it measures the noise floor: how much of that is over, 0..1
    noise_floor_p99_s: float | None = None
    send_lag_p99_s: float | None = None
    loop_lag_p99_s: float | None = None
    stalled_share: float | None = None  # of the time, in which a worker stood still for more than 10 ms
    steal: float | None = None  # share of CPU time stolen by the hypervisor


class ActiveFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is on now. until_s: when it ends at the latest; None: as soon as it has struck."""

    kind: str
    since_s: float
    number: int = 0
    until_s: float | None = None
    words: str = ""  # its parameters


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """State of the run at `t_s` seconds after its start (negative while it prepares)."""

    t_s: float
    state: str  # "preparing" | "preflight" | "running" | "draining" | "judging" | "done"
    duration_s: float
    planned: int
    due: int
    sent: int
    in_flight: int
    done: int
    outcomes: dict[str, int]
    due_rate: float  # requests per second over the last 2 s
    done_rate: float
    tokens: int
    token_rate: float
    ttft: Quantiles  # over the last 10 s
    itl: Quantiles
    ttft_all: Quantiles  # over the run
    slo_ttft_s: float | None = None
    host_cpu: float | None = None  # 0..1 of all cores
    host_memory: float | None = None  # 0..1
    gpus: tuple[GpuSample, ...] = ()
    gpu_note: str = ""  # why there is none
    engine: EngineSample = EngineSample()
    findings: dict[str, int] = {}
    drift: DriftSample | None = None
    faults: tuple[ActiveFault, ...] = ()
    gates: tuple[GateSample, ...] = ()
    instrument: InstrumentSample = InstrumentSample()
    stage: str = ""  # what part of a run of several goes on


class FaultMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which fault an event speaks of; `number` counts the faults of a run from 1, in the order of their starts.

    command: the number of the operator's command that asked for it; 0: the plan did.
    """

    number: int
    kind: str
    words: str = ""  # its parameters, as people read them
    instant: bool = False
    command: int = 0
    undone: bool = True  # of "fault.end"
    facts: dict[str, float | str] = {}  # of "fault.end": what it did


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: fault, engine state, operator, phase. `t_s` as in Tick."""

    t_s: float
    kind: str  # "fault.start", "fault.end", "fault.skipped", "engine.ready", "engine.died", "operator.stop", ...
    text: str
    recovery_s: float | None = None
    fault: FaultMark | None = None
