"""How late the harness itself was: a histogram of lags with a fixed relative error, small enough to send often."""

from __future__ import annotations

import math

import msgspec

_PER_OCTAVE = 8  # buckets per doubling: a quantile is at most 2 ** (1 / 8), 9 %, above the true value
_FLOOR_NS = 1_000


class LagCounts(msgspec.Struct, frozen=True):
    """A histogram as it travels: (bucket, count) for each bucket in use, and the largest lag in ns."""

    buckets: tuple[tuple[int, int], ...] = ()
    max_ns: int = 0


class LagHistogram:
    """Counts of lags by size, from 1 us up, eight buckets to each doubling. Lags in ns; below zero counts as zero."""

    __slots__ = ("_counts", "max_ns", "n")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.n = 0
        self.max_ns = 0

    def add(self, lag_ns: int) -> None:
        bucket = 0 if lag_ns <= _FLOOR_NS else math.ceil(math.log2(lag_ns / _FLOOR_NS) * _PER_OCTAVE)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.n += 1
        self.max_ns = max(self.max_ns, lag_ns)

    def merge(self, counts: LagCounts) -> None:
        """Add what another histogram counted."""
        for bucket, count in counts.buckets:
            self._counts[bucket] = self._counts.get(bucket, 0) + count
            self.n += count
        self.max_ns = max(self.max_ns, counts.max_ns)

    @property
    def counts(self) -> LagCounts:
        """What was counted so far."""
        return LagCounts(tuple(self._counts.items()), self.max_ns)

    def take(self) -> LagCounts:
        """What was counted since the last take; this histogram starts again from nothing."""
        counts = self.counts
        self._counts = {}
        self.n = self.max_ns = 0
        return counts

    def quantile_s(self, q: float) -> float | None:
        """The q-quantile in seconds (upper edge of its bucket, nearest rank); None without samples."""
        if not self.n:
            return None
        rank = max(1, math.ceil(q * self.n))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return self._edge_s(bucket)
        raise AssertionError("the counts of a histogram sum to n")

    def share_above(self, limit_s: float) -> float:
        """The share of lags that lie above `limit_s`, 0..1, to within a bucket; 0.0 without samples."""
        above = sum(count for bucket, count in self._counts.items() if self._edge_s(bucket) > limit_s)
        return above / self.n if self.n else 0.0

    def stalled_s(self, limit_s: float) -> float:
        """All lags above `limit_s` together, in seconds."""
        edges = ((self._edge_s(bucket), count) for bucket, count in self._counts.items())
        return math.fsum(edge_s * count for edge_s, count in edges if edge_s > limit_s)

    def wait_quantile_s(self, q: float, every_s: float) -> float | None:
        """How long something waits that comes at a random moment, at most, in a share q of all moments.

        For lags of a heartbeat that is set anew `every_s` after each beat: a beat that is late by L stands for a span
        of every_s + L, in the last L of which whatever comes waits for its end. So the share of moments with a wait
        above w is sum(max(0, L - w)) / sum(every_s + L), and this is its inverse. None without samples.
        """
        if not self.n:
            return None
        lags_s = sorted(((self._edge_s(bucket), count) for bucket, count in self._counts.items()), reverse=True)
        allowed_s = (1.0 - q) * (self.n * every_s + math.fsum(lag_s * count for lag_s, count in lags_s))
        longer, sum_s = 0, 0.0
        for lag_s, count in lags_s:
            if sum_s - longer * lag_s >= allowed_s and longer:
                break
            longer, sum_s = longer + count, sum_s + lag_s * count
        return max(0.0, (sum_s - allowed_s) / longer)

    def _edge_s(self, bucket: int) -> float:
        """The upper edge of a bucket, never above the largest lag."""
        return float(min(_FLOOR_NS * 2 ** (bucket / _PER_OCTAVE), max(self.max_ns, _FLOOR_NS))) / 1e9
