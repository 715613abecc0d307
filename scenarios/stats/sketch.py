"""A quantile sketch in fixed memory: counts in buckets whose bounds grow by a constant factor.

Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
VLDB 12 (2019). With relative error a, gamma = (1 + a) / (1 - a), bucket i holds (gamma^(i-1), gamma^i] and stands for
2 gamma^i / (gamma + 1). Here the bucket range is fixed (1 us to 10,000 s), so a merge is an addition of arrays: exactly
associative and commutative. Values below the range count as 0, values above it as the largest value seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from scenarios.stats.order import rank
from scenarios.tick import Quantiles

ERROR = 0.01
SMALLEST_S = 1e-6
LARGEST_S = 1e4
_GAMMA = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_FIRST = math.ceil(math.log(SMALLEST_S) / _LOG_GAMMA) - 1  # the bucket before the range: counts as 0
_BUCKETS = math.ceil(math.log(LARGEST_S) / _LOG_GAMMA) - _FIRST + 1


class LogSketch:
    """Quantiles of seconds within 1 % of the exact nearest-rank value; about 9 KB, whatever the number of values."""

    __slots__ = ("_counts", "largest", "n", "smallest")

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_BUCKETS, dtype=np.int64)
        self.n = 0
        self.smallest = math.inf
        self.largest = -math.inf

    def __repr__(self) -> str:
        return f"LogSketch(n={self.n}, p50={self.quantile(0.5)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LogSketch):
            return NotImplemented
        same_ends = (self.n, self.smallest, self.largest) == (other.n, other.smallest, other.largest)
        return same_ends and bool(np.array_equal(self._counts, other._counts))

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, value_s: float) -> None:
        """Count one value in seconds."""
        self._counts[_bucket(value_s)] += 1
        self.n += 1
        self.smallest = min(self.smallest, value_s)
        self.largest = max(self.largest, value_s)

    def add_many(self, values_s: npt.ArrayLike) -> None:
        """Count many values in seconds at once."""
        values = np.asarray(values_s, dtype=np.float64)
        if not len(values):
            return
        logs = np.log(np.maximum(values, SMALLEST_S / 2)) / _LOG_GAMMA
        places = np.clip(np.ceil(logs).astype(np.int64) - _FIRST, 0, _BUCKETS - 1)
        places[values < SMALLEST_S] = 0
        self._counts += np.bincount(places, minlength=_BUCKETS)
        self.n += len(values)
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))

    def merge(self, other: LogSketch) -> None:
        """Take in everything that `other` has counted."""
        self._counts += other._counts
        self.n += other.n
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    def quantile(self, q: float) -> float | None:
        """The nearest-rank quantile within the relative error; None when nothing was counted."""
        if not self.n:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), rank(q, self.n)))
        return self._value(place)

    def at_or_below(self, limit_s: float) -> int:
        """How many values are at or below `limit_s`; those in the limit's own bucket count as such (1 % error)."""
        if limit_s >= self.largest:
            return self.n
        return int(self._counts[: _bucket(limit_s) + 1].sum()) if limit_s >= self.smallest else 0

    def quantiles(self) -> Quantiles:
        """p50, p95 and p99 for a tick."""
        if not self.n:
            return Quantiles()
        cumulated = np.cumsum(self._counts)
        places = np.searchsorted(cumulated, [rank(q, self.n) for q in (0.5, 0.95, 0.99)])
        p50, p95, p99 = (self._value(int(place)) for place in places)
        return Quantiles(p50=p50, p95=p95, p99=p99, n=self.n)

    def _value(self, place: int) -> float:
        if place == 0:
            return max(0.0, min(self.smallest, SMALLEST_S))
        middle = 2.0 * math.exp((place + _FIRST) * _LOG_GAMMA) / (_GAMMA + 1.0)
        return min(max(middle, self.smallest), self.largest) if place < _BUCKETS - 1 else self.largest


def merged(sketches: Iterable[LogSketch]) -> LogSketch:
    """One sketch of everything that `sketches` have counted."""
    total = LogSketch()
    for sketch in sketches:
        total.merge(sketch)
    return total


def _bucket(value_s: float) -> int:
    if value_s < SMALLEST_S:
        return 0
    return min(math.ceil(math.log(value_s) / _LOG_GAMMA) - _FIRST, _BUCKETS - 1)
