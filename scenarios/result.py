"""The document that `--json` prints: the verdict with its evidence. Versioned; its schema ships with the package."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from scenarios.definition import Phase

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """What a run comes to."""

    GO = "GO"
    NO_GO = "NO-GO"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"


class GateVerdict(StrEnum):
    """What one gate comes to."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One gate, decided. `interval` is the confidence interval of `measured`; `needed` more requests settle it."""

    name: str
    metric: str
    bound: str
    measured: float | None
    interval: tuple[float | None, float | None] | None
    confidence: float
    verdict: GateVerdict
    n: int
    phase: Phase = Phase.WHOLE
    evidence: tuple[int, ...] = ()  # indexes of the observations that weigh most
    needed: int | None = None
    reason: str = ""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """A run went on after it had ended early: the run's clock stood still at `at_s` for `gap_s` of real time."""

    at_s: float
    gap_s: float
    left: int  # requests that were still to be sent
    lost: int  # requests that were under way and never recorded; they count as cancelled


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which run this is. `environment` holds only facts about machine and versions."""

    id: str
    scenario: str
    seed: int
    plan_hash: str
    target: str
    model: str
    started_at: str  # ISO 8601, UTC
    environment: dict[str, str | int | float | bool | None]
    state: str = "done"  # "running" | "done" | "interrupted" | "aborted" | "failed": what the journal says
    resumed: tuple[Resumed, ...] = ()


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles in seconds, from due; `raw` from sent."""

    n: int
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    raw: dict[str, float | None] = {}


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from a disturbance to service inside the SLO; None: not seen, in this run or before the next fault.

    From the start of a fault that is over at once, from the end of one that lasted and of a spike.
    """

    cause: str
    at_s: float  # from when it counts
    recovered_s: float | None
    watched_s: float | None = None  # where it is not known: how long at least service stayed outside


class FaultOutcome(StrEnum):
    """What a fault came to."""

    HELD = "held"  # inside the SLO all along, nothing lost
    DEGRADED = "degraded"  # outside it while the fault was on, back at once, nothing lost
    RECOVERED = "recovered"  # it took a while to be back inside
    LOST = "lost"  # requests were lost, but service was inside the SLO at once afterwards
    STUCK = "stuck"  # not back inside before the next fault or the end
    SKIPPED = "skipped"  # not brought about: `why` says what was missing
    UNKNOWN = "unknown"  # too few requests to tell


class PhaseShare(msgspec.Struct, frozen=True, kw_only=True):
    """Of the requests due before, during and after a fault, how many there were and how many ended well in the SLO."""

    n: int
    good: int
    ttft_p95_s: float | None = None


class FaultResult(msgspec.Struct, frozen=True, kw_only=True):
    """One fault and what came of it; see docs/measuring.md for the definitions. Times in seconds of the run.

    recovered_s: from its end (instant kinds: its start) to service inside the SLO. lost, shed, retried, duplicated,
    stuck: requests that were under way or came due from its start until service was back.
    """

    number: int
    kind: str
    words: str
    at_s: float
    end_s: float | None
    outcome: FaultOutcome
    undone: bool = True
    why: str = ""
    detected_s: float | None = None  # from its start to the first sign of it
    out_s: float = 0.0  # service was outside the SLO for so long, at least
    recovered_s: float | None = None
    requests: int = 0
    lost: int = 0
    shed: int = 0
    retried: int = 0
    duplicated: int = 0
    stuck: int = 0
    budget_spent: float | None = None  # share of the run's error budget
    before: PhaseShare | None = None
    during: PhaseShare | None = None
    after: PhaseShare | None = None
    facts: dict[str, float | str] = {}


class CapacityProbe(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the saturation curve; its warm-up counts in nothing. Rates per second.

    A "ramp" rises from `rate` to `end_rate`; for it, `completion_rate` is the best stretch.
    """

    kind: str  # "ramp" or "steady"
    rate: float
    end_rate: float
    duration_s: float
    due: int
    good: int
    goodput: float
    shed: int
    ttft_p95_s: float | None
    completion_rate: float  # answers that ended ok
    backlog_per_s: float  # growth of what is in flight
    holds: bool  # enough good answers, and no backlog that grew


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests that were due at a rate (per second) got."""

    rate: float
    goodput: float
    ttft_p95_s: float | None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The highest steady rate that holds, with its interval at `confidence`; None where the search found none.

    Without a `rate`, `low` is the highest rate that held and `high` the lowest that did not.
    """

    rate: float | None
    low: float | None
    high: float | None
    confidence: float
    share: float  # of all requests that must be good
    slo_ttft_s: float | None
    why: str
    probes: tuple[CapacityProbe, ...]
    curve: tuple[CurvePoint, ...]  # by rate; of ramps only what lies below the capacity, because beyond it they lag


class MinimalFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest scenario that a chaos search found to fail: `failed` of the `tried` times that it was run.

    faults: each in words. gate: the one that it fails, and every step to it did. whole: nothing more can be left out;
    False where time ran out before that was known. path: of its file; toml: what stands in it.
    """

    faults: tuple[str, ...]
    requests: int
    gate: str
    failed: int
    tried: int
    whole: bool
    path: str
    toml: str


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a chaos search covered, and what it found. Nothing found says no more than that of these tries none failed.

    tries: all of them; explored: those that were drawn, the others repeat or shrink a failing one. failures: of the
    explored ones, how many failed. kinds: of faults that were tried, of `possible`; pairs, triples: different
    combinations of kinds.
    """

    tries: int
    explored: int
    failures: int
    kinds: int
    possible: int
    pairs: int
    triples: int
    spent_s: float
    ended: str  # why
    warnings: tuple[str, ...] = ()
    minimal: MinimalFailure | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a run that its numbers speak of: requests due from `start_s` to `end_s`, in seconds of the run.

    rule: how the warm-up before it was found. excluded: requests due outside it; they count in the outcomes alone.
    steady: whether service was alike all through it; None where that was not looked at. note: what was left out, and
    why.
    """

    start_s: float
    end_s: float
    rule: str  # "auto", "none" or "time"
    excluded: int = 0
    steady: bool | None = None
    note: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers from observations, all by the definitions of DESIGN.md. Rates per second."""

    planned: int
    outcomes: dict[str, int]
    window_s: float
    goodput: float | None
    goodput_rate: float | None  # good requests per second
    throughput: dict[str, float | None]  # requests_per_s, tokens_per_s
    tokens_from: str  # "usage", "mixed" or "none"
    ttft_s: Latency
    ttfa_s: Latency
    itl_s: Latency
    tpot_s: Latency
    e2e_s: Latency
    shed_s: Latency  # due -> end of a shed answer
    accuracy: dict[str, dict[str, float | int | None]]  # slice ("all", "support-chat/A", ...) -> n, correct, rate
    findings: dict[str, int]
    drift: dict[str, float | int | bool | str | None]
    odd: dict[str, int]  # probes, correct, wrong
    recovery: tuple[Recovery, ...]
    instrument: dict[str, float | int | str | None]
    not_measured: dict[str, str]  # metric -> why
    capacity: Capacity | None = None  # of a run that searched for it

    chaos: ChaosResult | None = None  # of a run that searched for what fails
    window: Window = Window(start_s=0.0, end_s=0.0, rule="none")
    faults: tuple[FaultResult, ...] = ()
    fingerprints: dict[str, int] = {}  # model and fingerprint as answers name them -> answers


class ResultDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it."""

    verdict: Verdict
    why: str  # one sentence
    run: RunInfo
    summary: Summary
    gates: tuple[GateResult, ...]
    schema_version: int = SCHEMA_VERSION
