"""A scenario as its author means it: workload, arrivals, faults, objectives and gates. Plain values, already valid."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ArrivalKind(StrEnum):
    """How request starts are spread over time; all but `closed` are open loop."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"
    WEIBULL = "weibull"
    RAMP = "ramp"
    SPIKE = "spike"
    DIURNAL = "diurnal"
    WINDOWS = "windows"
    TRACE = "trace"
    TIMES = "times"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Think:
    """The pause between an answer and the next request: gamma numbers of that mean; with a cv of 0 always the mean."""

    mean_s: float = 0.0
    cv: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a run with a rate of its own; gaps are gamma or, with `weibull`, Weibull numbers of that variation.

    Windows of one `client` follow each other from the run's start; clients know nothing of each other.
    """

    for_s: float
    rate: float
    cv: float = 1.0
    weibull: bool = False
    client: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """The part of a trace file that a run may use: from `from_s` of the file on to its end.

    `path` is absolute; `digest` the SHA-256 of the file, so that another file of that name is not taken for it.
    `counts`: requests in each of equal parts of `length_s` seconds of the trace.
    """

    path: str
    digest: str
    from_s: float
    length_s: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When requests start. Rates in requests per second, times in seconds; a session's first request stands for it.

    constant, poisson, gamma, weibull: `rate` (gamma and weibull also `cv`, the coefficient of variation of the gaps).
    ramp: from `base` to `peak` over the whole duration. spike: `base`, and `peak` from `spike_at_s` for `spike_s`.
    diurnal: a wave between `base` and `peak`, or the polygon through `rates`, that repeats every `period_s` and begins
    at the share `phase` of it. windows: one after the other, of each client. trace: the times of `recording`,
    `speed` times as fast. times: at `at_s`, ascending. closed: `concurrency` users, each with one request at a time and
    a `think` after it, `requests` in all; how long that takes depends on the answers, and `duration_s` is 0.
    """

    kind: ArrivalKind
    duration_s: float
    rate: float = 0.0
    base: float = 0.0
    peak: float = 0.0
    spike_at_s: float = 0.0
    spike_s: float = 0.0
    cv: float = 1.0
    period_s: float = 0.0
    phase: float = 0.0
    rates: tuple[float, ...] = ()
    windows: tuple[Window, ...] = ()
    recording: Recording | None = None
    speed: float = 1.0
    at_s: tuple[float, ...] = ()
    concurrency: int = 0
    requests: int = 0
    think: Think = Think()


@dataclass(frozen=True, slots=True)
class Drift:
    """A gradual turn of a workload from era A to era B: share of era-B requests 0 before `start`, 1 after `end`.

    `start` and `end` are fractions of the run's duration.
    """

    start: float
    end: float


class Spread(StrEnum):
    """How whole numbers (tokens, turns) are spread."""

    CONSTANT = "constant"
    UNIFORM = "uniform"
    NORMAL = "normal"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Whole numbers from `low` to `high`; constant: always `mean`; uniform: `low` to `high` alike.

    normal, lognormal: of that mean and coefficient of variation `cv` before they are cut off at `low` and `high`.
    """

    spread: Spread
    low: int
    high: int
    mean: float = 0.0
    cv: float = 0.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Conversations of several requests: each is due `think` after the answer before it."""

    turns: Lengths
    think: Think = Think()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Requests from a file's rows. `answers`: whether any row says what the answer is; `digest`: of the file, SHA-256.

    `max_tokens`: for rows that do not say.
    """

    path: str
    digest: str
    answers: bool
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Replay:
    """Made-up text of the lengths and shared prefixes of a trace's rows.

    `shrink`: all lengths are divided by it; then prompts are cut to `prompt_max` and answers to `output_max` tokens
    (0: not cut). `exact_output`: the server is asked not to end an answer early.
    """

    path: str
    digest: str
    shrink: int = 1
    prompt_max: int = 0
    output_max: int = 0
    exact_output: bool = True


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Made-up text of `prompt_tokens`; a share `reuse` of the prompts begins with one of `prefixes` common beginnings.

    A prompt of `prefix_tokens` or less with a common beginning is that beginning and nothing else.
    """

    prompt_tokens: Lengths
    output_tokens: Lengths
    prefix_tokens: int = 0
    prefixes: int = 1
    reuse: float = 0.0
    exact_output: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """What an entry of the mix is, where it is more than a profile of that name as it comes.

    One of the fields is set, the one that `profile` takes; `sessions` for support-chat.
    """

    profile: str
    sessions: Sessions | None = None
    dataset: Dataset | None = None
    replay: Replay | None = None
    synthetic: Synthetic | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One of several customers of the target: their share by weight, and the variable that holds their API key."""

    name: str
    weight: float
    key_env: str


@dataclass(frozen=True, slots=True)
class SlowReader:
    """A share of requests whose client reads the answer no faster than that."""

    share: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A share of requests whose client hangs up after so many events with text."""

    share: float
    after_events: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """A share of requests that are tried again; see scenarios.request.Retry."""

    share: float
    attempts: int
    wait_s: float = 0.0
    factor: float = 1.0
    align_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients behave. A request is a slow reader's or one that hangs up, never both; any may be tried again."""

    slow_reader: SlowReader | None = None
    disconnect: Disconnect | None = None
    retry: Retrying | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Where requests come from: a mix of entries by weight (profile `odd` is the odd-input catalogue).

    An entry is the profile of its name, or what `parts` says about that name.
    """

    mix: tuple[tuple[str, float], ...]
    drift: Drift | None = None
    safety_share: float = 0.0  # share of starts (a session is one) that probe the trained safety behaviour
    parts: tuple[tuple[str, Part], ...] = ()
    tenants: tuple[Tenant, ...] = ()
    clients: Clients = Clients()

    def part(self, name: str) -> Part:
        """What the entry of that name is."""
        return next((part for other, part in self.parts if other == name), Part(name))

    @property
    def profiles(self) -> frozenset[str]:
        """The profiles that really occur."""
        return frozenset(self.part(name).profile for name, weight in self.mix if weight > 0)


@dataclass(frozen=True, slots=True)
class Slo:
    """What each single request must meet to count towards goodput; None: not bounded. Seconds."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A live figure that stays above (or below) a bound for `for_s` seconds; scenarios.conditions lists the figures."""

    metric: str
    above: float | None = None
    below: float | None = None
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A disturbance: its kind (scenarios.faults.kinds), when it starts (seconds from the first due time), how it ends.

    for_s: its length, at most; 0 for kinds that are over at once. until, hits: it ends sooner, when the condition holds
    or so many connections or requests were hit (0: no such bound). share: of those, how many are hit, drawn for each.
    params: in the units of the kind. times, by_s: so many of it, at moments drawn from the seed between `at_s` and
    `by_s`; once, at `at_s`, where by_s is 0.
    """

    kind: str
    at_s: float
    for_s: float = 0.0
    share: float = 1.0
    hits: int = 0
    until: Condition | None = None
    params: tuple[tuple[str, float | str], ...] = ()
    times: int = 1
    by_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Blast:
    """How much harm faults may do: the largest share that one may hit, how many at once, and how long one may last."""

    share: float = 1.0
    at_once: int = 3
    length_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every fault in turn: of each slot `length_s` with the fault, the rest to recover. kinds: empty: all there are."""

    kinds: tuple[str, ...] = ()
    slot_s: float = 10.0
    lead_s: float = 2.0
    length_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Chaos:
    """A search for the smallest workload and faults that fail a gate. kinds: of the faults it may use; empty: all.

    budget_s: of searching and shrinking together. most_faults, most_requests: of one try. settle_s: after faults that
    strike the target's processes, how long it has until it must serve again.
    """

    budget_s: float = 600.0
    kinds: tuple[str, ...] = ()
    most_faults: int = 3
    most_requests: int = 20
    settle_s: float = 5.0


class Phase(StrEnum):
    """Which part of a run with faults a gate looks at, by when requests were due."""

    WHOLE = "whole"
    BEFORE = "before"  # the first fault
    DURING = "during"  # any fault
    AFTER = "after"  # the last fault, once its time to recover is over


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
    phase: Phase = Phase.WHOLE


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
    abort: tuple[Condition, ...] = ()  # any of them ends the trial
    blast: Blast = field(default_factory=Blast)
    matrix: Matrix | None = None
    chaos: Chaos | None = None
    source: str = ""  # the TOML text it was read from, kept in the journal

    @property
    def length_s(self) -> float:
        """How long sending is to last: of a chaos search at most, 0.0 where the answers decide it."""
        return self.arrivals.duration_s if self.chaos is None else self.chaos.budget_s
