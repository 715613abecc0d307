"""A scenario as its author means it: workload, arrivals, faults, objectives and gates. Plain values, already valid."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ArrivalKind(StrEnum):
    """How request starts are spread over time; all are open loop."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"
    RAMP = "ramp"
    SPIKE = "spike"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When requests start. Rates in requests per second, times in seconds.

    constant, poisson, gamma: `rate` (gamma also `cv`, the coefficient of variation of the gaps).
    ramp: from `base` to `peak` over the whole duration. spike: `base`, and `peak` from `spike_at_s` for `spike_s`.
    """

    kind: ArrivalKind
    duration_s: float
    rate: float = 0.0
    base: float = 0.0
    peak: float = 0.0
    spike_at_s: float = 0.0
    spike_s: float = 0.0
    cv: float = 1.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A gradual turn of a workload from era A to era B: share of era-B requests 0 before `start`, 1 after `end`.

    `start` and `end` are fractions of the run's duration.
    """

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Workload:
    """Where requests come from: a mix of profiles by weight (profile `odd` is the odd-input catalogue)."""

    mix: tuple[tuple[str, float], ...]
    drift: Drift | None = None
    safety_share: float = 0.0  # share of requests that probe the trained safety behaviour (declined kinds, injections)


@dataclass(frozen=True, slots=True)
class Slo:
    """What each single request must meet to count towards goodput; None: not bounded. Seconds."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A disturbance: kind (`engine.kill`), when (seconds from the first due time), and its parameters."""

    kind: str
    at_s: float
    params: tuple[tuple[str, str], ...] = ()


class Over(StrEnum):
    """Which requests a percentile is taken over."""

    SERVED = "served"  # those that have such a time
    PLANNED = "planned"  # all: one that was never answered is infinitely late


@dataclass(frozen=True, slots=True)
class GateSpec:
    """A bound on one metric: `minimum` <= metric <= `maximum`, decided at `confidence`.

    sequential: decided by a test that may be looked at all the time, so that the run may end as soon as it has spoken.
    """

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    confidence: float = 0.95
    name: str = ""
    sequential: bool = False
    over: Over = Over.SERVED


class WarmupRule(StrEnum):
    """How the end of the warm-up is known."""

    AUTO = "auto"  # found in what was measured
    NONE = "none"
    TIME = "time"  # given


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Which part of a run its numbers speak of. `warmup_s`: seconds from the start, for the rule TIME."""

    warmup: WarmupRule = WarmupRule.NONE
    warmup_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the embedded engine is set up for this scenario; ignored for an outside target."""

    slots: int = 16
    ctx: int = 1024
    queue_limit: int = 32
    threads: int = 0  # 0: leave the harness a core


@dataclass(frozen=True, slots=True)
class Keep:
    """Which texts the journal keeps. `answers_bytes` bounds the answers of a run, compressed; 0: none, only hashes.

    prompts: what was asked and what a right answer is; without them a run is resumed by making its plan anew.
    """

    answers_bytes: int = 64 << 20
    prompts: bool = True


REDACTED = Keep(answers_bytes=0, prompts=False)


@dataclass(frozen=True, slots=True)
class Search:
    """A search for the highest steady rate at which `share` of all requests still meet the SLO.

    It starts at the rate of the arrivals and takes no longer than their duration. `precision` is the relative width of
    the interval at `confidence` at which it may end; `low` and `high` bound the rates that are tried.
    """

    share: float = 0.95
    confidence: float = 0.95
    precision: float = 0.03
    probes: int = 8
    probe_s: float = 28.0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Workload + arrivals + faults + gates, under a name."""

    name: str
    about: str
    workload: Workload
    arrivals: Arrivals
    slo: Slo = field(default_factory=Slo)
    engine: EngineSettings = field(default_factory=EngineSettings)
    faults: tuple[FaultSpec, ...] = ()
    gates: tuple[GateSpec, ...] = ()
    window: WindowSpec = field(default_factory=WindowSpec)
    timeout_s: float = 30.0
    keep: Keep = field(default_factory=Keep)
    search: Search | None = None
    source: str = ""  # the TOML text it was read from, kept in the journal
