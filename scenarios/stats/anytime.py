"""A test of a rate that stays valid however often it is looked at, and whenever one stops.

With S hits in n samples, M_n(p) = [B(a + S, b + n - S) / B(a, b)] / [p^S (1 - p)^(n - S)] is a martingale of mean 1
when each sample hits with probability p, whatever came before: the beta-binomial mixture of likelihood ratios. By
Ville's inequality P(M_n(p) >= 1/alpha for any n) <= alpha, so all p with M_n(p) < 1/alpha are a confidence sequence:
intervals that hold the true rate at every n at once with confidence 1 - alpha. Sources: Ville, "Etude critique de la
notion de collectif" (1939); Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41 (1970); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences", Annals of Statistics 49 (2021).

A lower true rate only makes few hits likelier, so a test at the bound p0 also covers every rate beyond it. The mixture
is centred on p0 with weight `RARER` on the rarer side: it loses least against rates that are a factor of 1.5 to 3 off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scenarios.stats import order

RARER = 2.0


@dataclass(frozen=True, slots=True)
class RateTest:
    """Whether a rate lies above or below `bound`, 0 < bound < 1, with error at most 1 - confidence over all looks.

    It depends on counts alone, not on the way to them, so whoever counts the same samples decides the same.
    """

    bound: float
    confidence: float

    def __post_init__(self) -> None:
        if not (0.0 < self.bound < 1.0 and 0.0 < self.confidence < 1.0):
            raise ValueError(f"bound {self.bound} and confidence {self.confidence} must lie between 0 and 1")

    def side(self, hits: float, n: float) -> int:
        """+1: the rate is above the bound, -1: below, 0: open. Counts may be fractional, for forecasts."""
        if n <= 0 or self.log_martingale(hits, n) < self._limit:
            return 0
        return 1 if hits > n * self.bound else -1

    def log_martingale(self, hits: float, n: float, rate: float | None = None) -> float:
        """log M_n at `rate` (default: the bound)."""
        a, b = self._mixture
        p = self.bound if rate is None else rate
        return _log_beta(a + hits, b + n - hits) - _log_beta(a, b) - _log_likelihood(hits, n, p)

    def interval(self, hits: float, n: float) -> tuple[float, float]:
        """The confidence sequence at n: log M is convex in p with its minimum at hits / n. (0, 1) for n = 0."""
        if n <= 0:
            return 0.0, 1.0
        rate = hits / n
        low = 0.0 if hits <= 0 else self._edge(hits, n, 0.0, rate)
        high = 1.0 if hits >= n else self._edge(hits, n, 1.0, rate)
        return low, high

    def ranks(self, n: int, likeness: float = 1.0) -> tuple[int | None, int | None]:
        """1-based ranks (low, high) with x[low] <= true quantile `bound` <= x[high], at every n at once.

        The number of samples at or below the quantile stays where M < 1/alpha (Howard and Ramdas, "Sequential
        estimation of quantiles", Bernoulli 28, 2022). A rank that the sample does not have is None. `likeness`: how
        many samples are worth one independent one.
        """
        few = order.largest(n, lambda hits: self.side(hits / likeness, n / likeness) < 0)
        misses = order.largest(n, lambda misses: self.side((n - misses) / likeness, n / likeness) > 0)
        return (few + 1 if few >= 0 else None), (n - misses if misses >= 0 else None)

    @property
    def _mixture(self) -> tuple[float, float]:
        weight = RARER / min(self.bound, 1.0 - self.bound)
        return self.bound * weight, (1.0 - self.bound) * weight

    @property
    def _limit(self) -> float:
        return -math.log(1.0 - self.confidence)

    def _edge(self, hits: float, n: float, outside: float, inside: float) -> float:
        """The rate between `outside` (excluded, or the end of the range) and `inside` (held) where M is 1/alpha."""
        while (middle := (outside + inside) / 2) not in (outside, inside):
            if self.log_martingale(hits, n, middle) < self._limit:
                inside = middle
            else:
                outside = middle
        return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(hits: float, n: float, rate: float) -> float:
    return hits * math.log(rate) + (n - hits) * math.log1p(-rate)
