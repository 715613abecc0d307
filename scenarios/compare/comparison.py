"""What a comparison says, as it stands in its JSON document."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from scenarios.result import RunInfo

SCHEMA_VERSION = 1


class Change(StrEnum):
    """What became of a metric from run A to run B."""

    WORSE = "worse"  # surely, and by more than the tolerance
    BETTER = "better"  # likewise
    SAME = "same"  # surely within the tolerance
    UNCLEAR = "unclear"  # there are too few requests to say
    MISSING = "not measured"  # one of the runs has no such number


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in both runs. Seconds, or a share from 0 to 1.

    difference: b - a. low, high: its interval, whose confidence is the comparison's, over all metrics together.
    effect: for times Cliff's delta (share of pairs of requests in which B took longer, less the share in which A did),
    for shares Cohen's h (2 asin √b - 2 asin √a).
    """

    name: str
    unit: str  # "s" or "share"
    higher_is_better: bool
    change: Change
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    effect: float | None = None
    n_a: int = 0
    n_b: int = 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Run B held against run A. `metrics` has the regressions first, the largest effect first."""

    a: RunInfo
    b: RunInfo
    paired: bool  # both sent the same requests at the same times, and are compared request by request
    n: int  # requests compared: pairs, or those of the smaller run
    confidence: float
    tolerance: float  # relative for times, absolute for shares
    metrics: tuple[Metric, ...]
    notes: tuple[str, ...] = ()  # what keeps the two from being alike
    schema_version: int = SCHEMA_VERSION

    @property
    def regressions(self) -> tuple[Metric, ...]:
        """The metrics that are surely worse."""
        return tuple(one for one in self.metrics if one.change is Change.WORSE)
