"""What one probe of a capacity search showed: a stretch of traffic at a steady or rising rate, in a few numbers.

The first fifth of a probe is warm-up and counts in nothing. The rest is cut into eight parts of equal length: how much
they differ says how sure the numbers are, because requests that meet the same queue share their fate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.stats.order import quantile

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WARM_SHARE = 0.2
PARTS = 8
RAMP_POINTS = 4
# One probe may not be surer than this many independent requests: a queue at the edge has few busy spells in 20 s, and
# a probe that met none of them looks perfect.
MOST_SURE = 60.0
GROWING_T = 3.0  # Student's t of the backlog's growth over the parts; 3 with 7 degrees of freedom is 1 in 100
GROWING_LEAST = 5.0  # requests; and 1 % of the requests that came due
GROWING_SHARE = 0.01


class Kind(StrEnum):
    """How a probe's rate behaves."""

    RAMP = "ramp"  # rises evenly from `rate` to `end_rate`
    STEADY = "steady"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A rate, and what the requests that were due at it got."""

    rate: float
    goodput: float
    ttft_p95_s: float | None


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Rates per second, times in seconds. `due` and `good` count the requests after the warm-up."""

    kind: Kind
    rate: float
    end_rate: float
    duration_s: float
    due: int
    good: int
    shed: int
    effective: float  # how many independent requests the good share is worth
    backlog_per_s: float  # growth of what is in flight
    growing: bool  # it grew for certain
    completion_rate: float  # answers that ended ok, per second of the part that was measured
    completion_error: float  # its relative standard error
    completed_good: float  # share of the answers that ended ok that met the SLO as well
    slack_s: float | None  # how long a request may wait: the SLO less what the quickest tenth took
    spare_s: float | None  # the same of the quickest request after the warm-up
    ttft_p95_s: float | None
    curve: tuple[Point, ...]  # one for a steady probe, one for each quarter of what was measured of a ramp

    @property
    def good_share(self) -> float:
        return self.good / self.due if self.due else 0.0

    @property
    def measured_s(self) -> float:
        return self.duration_s * (1 - WARM_SHARE)


@dataclass(frozen=True, slots=True)
class Record:
    """The requests of one probe as columns in due order, seconds from its start; `ttft_s` NaN where there was none."""

    due_s: Floats
    end_s: Floats
    ok: Mask
    good: Mask
    shed: Mask
    ttft_s: Floats
    spare_s: Floats  # how much longer it could have waited and still met the SLO, negative when it missed it


def measure(kind: Kind, rate: float, end_rate: float, duration_s: float, record: Record) -> Probe:
    """The numbers of a probe. For a ramp, `completion_rate` is the best stretch instead of the mean."""
    warm_s = duration_s * WARM_SHARE
    inside = record.due_s >= warm_s
    edges = np.linspace(warm_s, duration_s, PARTS + 1)
    due, good = int(inside.sum()), int((inside & record.good).sum())
    backlog = _up_to(record.due_s, edges) - _up_to(record.end_s, edges)
    growth = np.diff(backlog)
    completed = np.diff(_up_to(record.end_s[record.ok], edges))
    part_s = (duration_s - warm_s) / PARTS
    best = best_stretch(np.sort(record.end_s[record.ok])) if kind is Kind.RAMP else float(completed.mean()) / part_s
    ok = inside & record.ok
    spare = np.sort(record.spare_s[record.ok & np.isfinite(record.spare_s)])
    seen = np.sort(record.ttft_s[inside & ~np.isnan(record.ttft_s)])
    return Probe(
        kind=kind,
        rate=rate,
        end_rate=end_rate,
        duration_s=duration_s,
        due=due,
        good=good,
        shed=int((inside & record.shed).sum()),
        effective=_effective(record, inside, edges),
        backlog_per_s=float(growth.mean()) / part_s,
        growing=_grows(growth, due),
        completion_rate=best,
        completion_error=float(completed.std(ddof=1) / np.sqrt(PARTS) / completed.mean()) if completed.any() else 1.0,
        completed_good=float((ok & record.good).sum() / max(1, ok.sum())),
        slack_s=quantile(spare, 0.9),
        spare_s=max((float(s) for s in record.spare_s[ok] if np.isfinite(s)), default=None),
        ttft_p95_s=quantile(seen, 0.95),
        curve=_curve(rate, end_rate, duration_s, RAMP_POINTS if kind is Kind.RAMP else 1, record),
    )


def _curve(rate: float, end_rate: float, duration_s: float, points: int, record: Record) -> tuple[Point, ...]:
    edges = np.linspace(duration_s * WARM_SHARE, duration_s, points + 1)
    found = []
    for begin_s, end_s in pairwise(edges):
        rows = (record.due_s >= begin_s) & (record.due_s < end_s)
        if rows.any():
            seen = np.sort(record.ttft_s[rows & ~np.isnan(record.ttft_s)])
            at = rate + (end_rate - rate) * float(begin_s + end_s) / 2 / duration_s
            found.append(Point(rate=at, goodput=float(record.good[rows].mean()), ttft_p95_s=quantile(seen, 0.95)))
    return tuple(found)


def best_stretch(end_s: Floats) -> float:
    """The highest rate at which answers came over an eighth of them, 20 at least; 0.0 with fewer than two."""
    if len(end_s) < 2:
        return 0.0
    step = min(max(20, len(end_s) // 5), len(end_s) - 1)
    return float(step / np.maximum(end_s[step:] - end_s[:-step], 1e-9).min())


def _up_to(times_s: Floats, edges: Floats) -> Floats:
    return np.searchsorted(np.sort(times_s), edges, side="right").astype(np.float64)


def _grows(growth: Floats, due: int) -> bool:
    """Whether what is in flight grew for certain: Student's t over the parts, and by more than a trifle."""
    total = float(growth.sum())
    if total < max(GROWING_LEAST, GROWING_SHARE * due):
        return False
    return float(growth.mean()) > GROWING_T * float(growth.std(ddof=1)) / math.sqrt(len(growth))


def _effective(record: Record, inside: Mask, edges: Floats) -> float:
    """The number of independent requests with the same error: p (1 - p) over the variance of the mean of the parts.

    Batch means (Law, Simulation Modeling and Analysis, ch. 9); MOST_SURE at most, and at least two.
    """
    place = np.clip(np.searchsorted(edges, record.due_s[inside], side="right") - 1, 0, PARTS - 1)
    due = np.bincount(place, minlength=PARTS)
    good = np.bincount(place, weights=record.good[inside].astype(np.float64), minlength=PARTS)
    filled = due > 0
    n, p = float(due.sum()), float(good.sum() / max(1, due.sum()))
    if filled.sum() < 2 or p in (0.0, 1.0):
        return min(n, MOST_SURE)
    spread = float(np.var(good[filled] / due[filled], ddof=1) / filled.sum())
    independent = n if spread <= 0 else p * (1 - p) / spread
    return max(2.0, min(n, independent, MOST_SURE))
