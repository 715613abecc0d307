"""The state of a run as the screen sees it: one frozen value, folded from ticks and events. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from scenarios.result import GateVerdict, ResultDocument, RunInfo
from scenarios.tick import ActiveFault, Event, Tick

POINTS = 1024  # history kept for the charts; twice the dots of the widest chart
BANDS = 64
MARK_S = 0.5  # the shortest fault band, so that a fault between two ticks is seen too


class Phase(StrEnum):
    """Where the run stands, and what the console can know of it."""

    EMPTY = "no run"
    OPENING = "opening"
    PREPARING = "preparing"
    RUNNING = "running"
    DRAINING = "draining"
    JUDGING = "judging"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    GONE = "gone"
    UNREADABLE = "unreadable"

    @property
    def live(self) -> bool:
        """Whether a runner is at work behind it, that can be asked for something."""
        return self in (Phase.PREPARING, Phase.RUNNING, Phase.DRAINING, Phase.JUDGING, Phase.STOPPING)


@dataclass(frozen=True, slots=True)
class Point:
    """One point in time of every chart; None where nothing was measured."""

    t_s: float
    due_rate: float
    done_rate: float
    ttft_p50: float | None
    ttft_p95: float | None
    gpu: float | None
    host_cpu: float | None
    drift: float | None


@dataclass(frozen=True, slots=True)
class Band:
    """The time in which a fault was on."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Flag:
    """A finding as the safety panel shows it; `t_s` is when its request was due."""

    t_s: float | None
    category: str
    severity: str
    where: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the panels show. Every text in it has been through the sanitiser."""

    run_id: str = ""
    phase: Phase = Phase.EMPTY
    run: RunInfo | None = None
    tick: Tick | None = None
    points: tuple[Point, ...] = ()
    bands: tuple[Band, ...] = ()
    events: tuple[Event, ...] = ()  # newest last
    flags: tuple[Flag, ...] = ()  # newest first
    document: ResultDocument | None = None
    problem: str = ""
    quiet_s: int = 0  # whole seconds without news, when that is worth saying
    paused: bool = False

    @property
    def short_id(self) -> str:
        """The end of the run's id, short enough to be said aloud."""
        return self.run_id.rsplit("-", 1)[-1]

    @property
    def scenario(self) -> str:
        return self.run.scenario if self.run else ""

    @property
    def end_s(self) -> float:
        """The end of the shared time axis: the planned duration, or now while it drains."""
        if self.tick is None:
            return 1.0
        return max(self.tick.duration_s, self.tick.t_s, 1.0)

    def gate_counts(self) -> tuple[int, int, int]:
        """Gates that pass, fail and are open (or were not decided)."""
        if self.document is not None:
            count = Counter(gate.verdict for gate in self.document.gates)
            good, bad = count[GateVerdict.PASS], count[GateVerdict.FAIL]
            return good, bad, len(self.document.gates) - good - bad
        states = Counter(gate.state for gate in self.tick.gates) if self.tick else Counter[str]()
        return states["pass"], states["fail"], sum(states.values()) - states["pass"] - states["fail"]


def phase_of(run: RunInfo | None, tick: Tick | None, judged: bool) -> Phase:
    """Where a run stands, by what its journal says."""
    if judged:
        return Phase.DONE
    if run is not None and run.state in ("failed", "interrupted", "aborted"):
        return Phase.FAILED if run.state == "failed" else Phase.STOPPING
    if tick is None or tick.state in ("preparing", "preflight"):
        return Phase.PREPARING
    return {"draining": Phase.DRAINING, "judging": Phase.JUDGING, "done": Phase.JUDGING}.get(tick.state, Phase.RUNNING)


def point_of(tick: Tick) -> Point:
    """What the charts keep of a tick; of several GPUs, the mean."""
    loads = [gpu.utilisation for gpu in tick.gpus if gpu.utilisation is not None]
    return Point(
        t_s=tick.t_s,
        due_rate=tick.due_rate,
        done_rate=tick.done_rate,
        ttft_p50=tick.ttft.p50,
        ttft_p95=tick.ttft.p95,
        gpu=sum(loads) / len(loads) if loads else None,
        host_cpu=tick.host_cpu,
        drift=tick.drift.score if tick.drift else None,
    )


def extend(points: list[Point], ticks: Iterable[Tick]) -> None:
    """Add the ticks of the run itself to the history; when it is full, pairs of points become one."""
    for tick in ticks:
        if tick.t_s < 0:
            continue
        points.append(point_of(tick))
        if len(points) >= POINTS:
            points[:] = [_merge(points[i], points[i + 1]) for i in range(0, len(points) - 1, 2)]


def _merge(a: Point, b: Point) -> Point:
    """Two neighbours as one that keeps the worse of both."""
    return Point(
        t_s=b.t_s,
        due_rate=max(a.due_rate, b.due_rate),
        done_rate=max(a.done_rate, b.done_rate),
        ttft_p50=_worse(a.ttft_p50, b.ttft_p50),
        ttft_p95=_worse(a.ttft_p95, b.ttft_p95),
        gpu=_worse(a.gpu, b.gpu),
        host_cpu=_worse(a.host_cpu, b.host_cpu),
        drift=_worse(a.drift, b.drift),
    )


def _worse(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def mark_active(bands: dict[int, Band], active: Iterable[ActiveFault], now_s: float) -> None:
    """Stretch the bands of the faults that are on; `bands` maps a fault's number to its band."""
    for fault in active:
        bands[fault.number] = Band(fault.kind, fault.since_s, max(now_s, fault.since_s + MARK_S))
    while len(bands) > BANDS:
        del bands[next(iter(bands))]


def mark_event(bands: dict[int, Band], event: Event) -> None:
    """A fault's start and end by its events: the band is there even when no tick fell into it."""
    mark = event.fault
    if mark is None:
        return
    if event.kind == "fault.start":
        bands.setdefault(mark.number, Band(mark.kind, event.t_s, event.t_s + MARK_S))
    elif event.kind == "fault.end" and mark.number in bands:
        start_s = bands[mark.number].start_s
        bands[mark.number] = Band(mark.kind, start_s, max(event.t_s, start_s + MARK_S))
