"""The metrics that a gate may bound: what each means, how it is decided, what a scenario needs to measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from scenarios.definition import ArrivalKind, Arrivals, Workload

ODD_PROFILE = "odd"  # the workload profile that stands for the odd-input catalogue
UNJUDGED = (ODD_PROFILE, "trace", "synthetic")  # profiles without exact answers
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
FINDING_CATEGORIES = (
    "pii.email", "pii.phone", "pii.card", "pii.iban", "pii.id", "pii.ip", "pii.address",
    "secret", "injection", "jailbreak", "leak", "hate", "harassment", "self-harm", "sexual", "violence", "illicit",
    "refusal", "ungrounded", "off-topic", "language", "escape", "format", "degenerate", "bias",
)  # fmt: skip


class MetricKind(StrEnum):
    """How a gate on the metric is decided."""

    PERCENTILE = "percentile"  # order-statistic bound on a quantile of seconds
    RATE = "rate"  # exact binomial interval of a share, 0..1
    DIFFERENCE = "difference"  # interval of the difference of two shares, -1..1
    VALUE = "value"  # one number, compared as it is


class Need(StrEnum):
    """What a scenario must have before a metric can be measured; the value completes "it needs ..."."""

    ORDINARY = 'a profile other than "odd", or a safety_share: odd probes are judged by odd.correct alone'
    ANSWERS = "a profile whose answers are known: not trace, not synthetic, and no dataset without answers"
    DRIFT = "a drift in [workload]"
    ODD = 'the profile "odd" in [workload]'
    DISTURBANCE = 'arrivals of kind "spike", a [[faults]] entry or a [matrix]'
    FAULT = "a [[faults]] entry or a [matrix]"
    SEARCH = "a [search]"
    STEADY = "a run without a [search], which overloads the service on purpose"
    SAFETY = "a safety_share above 0 in [workload]"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `unit` is "s", "share", "count" or "1/s"; `quantile` is set for percentiles only."""

    name: str
    kind: MetricKind
    unit: str
    about: str
    needs: tuple[Need, ...] = ()
    quantile: float | None = None

    @property
    def family(self) -> str:
        """The part before the dot: `ttft_s` of `ttft_s.p95`."""
        return self.name.partition(".")[0]


LATENCIES = {
    "ttft_s": "due to the first event with text or reasoning text",
    "ttfa_s": "due to the first event with answer text",
    "itl_s": "gap between two events of one stream, pooled",
    "tpot_s": "time per token after the first, for each request",
    "e2e_s": "due to the last token",
    "shed_s": "due to the end of an answer that says 'not now' (429 or 503 with Retry-After)",
}
COUNTS = frozenset({"lost", "stuck", "retried", "duplicated"})  # of requests, so that a part of a run has its own
POOLED = frozenset({"itl_s"})  # many values of one request, which are not independent of each other


def _percentiles() -> list[Metric]:
    return [
        Metric(
            f"{family}.{name}", MetricKind.PERCENTILE, "s", f"{name}: {about}", (Need.ORDINARY, Need.STEADY), quantile
        )
        for family, about in LATENCIES.items()
        for name, quantile in PERCENTILES.items()
    ]


def _findings() -> list[Metric]:
    rate = MetricKind.RATE
    each = [
        Metric(
            f"findings.{category}",
            rate,
            "share",
            f"share of answers with a finding of category {category}",
            (Need.SAFETY,) if category == "leak" else (),
        )
        for category in FINDING_CATEGORIES
    ]
    return [*each, Metric("findings.any", rate, "share", "share of answers with any finding")]


def _others() -> list[Metric]:
    rate, value = MetricKind.RATE, MetricKind.VALUE
    answers, drift = (Need.ANSWERS,), (Need.DRIFT,)
    steady = (Need.ORDINARY, Need.STEADY)
    disturbed, faulty = (Need.ORDINARY, Need.DISTURBANCE), (Need.ORDINARY, Need.FAULT)
    return [
        Metric("goodput", rate, "share", "share of all planned requests that ended well inside every SLO", steady),
        Metric("ok_rate", rate, "share", "share of planned requests that ended ok", steady),
        Metric("error_rate", rate, "share", "share not ok, shed or cancelled by us; odd probes set aside", steady),
        Metric("shed_rate", rate, "share", "share answered 429 or 503 with Retry-After", steady),
        Metric("accuracy", rate, "share", "share of exact answers among the ok ones whose answer is known", answers),
        Metric("accuracy.era_a", rate, "share", "accuracy before the world turned", answers),
        Metric("accuracy.era_b", rate, "share", "accuracy after the world turned", (Need.ANSWERS, Need.DRIFT)),
        Metric("odd.correct", rate, "share", "share of odd probes answered as a correct server does", (Need.ODD,)),
        Metric("recovery_s.max", value, "s", "longest way back into the SLO after a disturbance", disturbed),
        Metric("recovery_s.p95", value, "s", "p95 of the ways back into the SLO after the disturbances", disturbed),
        Metric("detect_s.max", value, "s", "longest time from a fault's start to the first sign of it", faulty),
        Metric("budget_spent", value, "share", "share of the run's error budget that requests in faults cost", faulty),
        Metric("lost", value, "count", "requests that ended without their answer, save those put off", steady),
        Metric(
            "stuck", value, "count", "timeouts without a byte, and faults that service did not come back from", steady
        ),
        Metric("retried", value, "count", "tries beyond the first", steady),
        Metric("duplicated", value, "count", "requests that the target began to answer more than once", steady),
        Metric("fingerprints", value, "count", "names of model and fingerprint in answers; 2: it was swapped"),
        Metric("engine.restarts", value, "count", "times the supervisor had to start the engine again"),
        Metric(
            "capacity.rate", value, "1/s", "highest steady rate inside the SLO, requests per second", (Need.SEARCH,)
        ),
        Metric("drift.detected", value, "count", "1 when the drift alarm went off, else 0", drift),
        Metric("drift.delay_s", value, "s", "alarm time minus the start of the turn", drift),
        Metric(
            "drift.accuracy_drop",
            MetricKind.DIFFERENCE,
            "share",
            "accuracy of era A minus accuracy of era B, 0..1",
            (Need.ANSWERS, Need.DRIFT),
        ),
    ]


METRICS: Mapping[str, Metric] = MappingProxyType({m.name: m for m in (*_percentiles(), *_others(), *_findings())})


def missing_needs(
    metric: Metric, workload: Workload | None, arrivals: Arrivals | None, any_fault: bool, search: bool = False
) -> tuple[Need, ...]:
    """What a scenario of these parts lacks to measure the metric; a part that is None is taken to have it all."""
    has = dict.fromkeys(Need, True)
    if workload is not None:
        profiles = workload.profiles
        has[Need.ORDINARY] = bool(profiles - {ODD_PROFILE}) or workload.safety_share > 0
        has[Need.ANSWERS] = workload.safety_share > 0 or _answers_known(workload)
        has[Need.DRIFT] = workload.drift is not None
        has[Need.ODD] = ODD_PROFILE in profiles
        has[Need.SAFETY] = workload.safety_share > 0
    if arrivals is not None:
        has[Need.DISTURBANCE] = arrivals.kind is ArrivalKind.SPIKE or any_fault
    has[Need.FAULT] = any_fault
    has[Need.SEARCH] = search
    has[Need.STEADY] = not search
    return tuple(need for need in metric.needs if not has[need])


def _answers_known(workload: Workload) -> bool:
    parts = [workload.part(name) for name, weight in workload.mix if weight > 0]
    return any(part.profile not in UNJUDGED and (part.dataset is None or part.dataset.answers) for part in parts)
