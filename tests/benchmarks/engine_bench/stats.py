"""Numbers from measurements: medians with bootstrap intervals, Jain's index, quantiles of samples and of buckets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""Reduces the last axis."""

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of `n` measurements and its bootstrap interval (percentile method, 95 %)."""

    value: float
    low: float
    high: float
    n: int

    def show(self, digits: int = 2) -> str:
        return f"{self.value:.{digits}f}"

    def interval(self, digits: int = 2) -> str:
        """`[low, high] n=10`; a single measurement has no interval."""
        return f"[{self.low:.{digits}f}, {self.high:.{digits}f}] n={self.n}" if self.n > 1 else f"n={self.n}"


def median(values: Values) -> Values:
    """Of the last axis."""
    return np.asarray(np.median(values, axis=-1))


def estimate(values: Sequence[float], statistic: Statistic = median, seed: int = 1) -> Estimate:
    """`statistic` of the values, with the interval of its bootstrap distribution. Raises ValueError on no values."""
    data = np.asarray(values, dtype=np.float64)
    if not data.size:
        raise ValueError("no measurement to estimate from")
    rng = np.random.default_rng(seed)
    samples = statistic(data[rng.integers(0, data.size, size=(RESAMPLES, data.size))])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(samples, (tail, 1.0 - tail))
    return Estimate(float(statistic(data)), float(low), float(high), int(data.size))


def ratio(pairs: Sequence[tuple[float, float]], seed: int = 1) -> Estimate:
    """Median of first / second over pairs that were measured side by side."""
    return estimate([first / second for first, second in pairs], seed=seed)


def quantile(values: Sequence[float], q: float) -> float:
    """Linear between order statistics; NaN of no values."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), q)) if len(values) else float("nan")


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index, (sum x)^2 / (n sum x^2): 1 when all are equal, 1/n when one has everything.

    Source: Jain, Chiu, Hawe: A Quantitative Measure of Fairness and Discrimination, DEC-TR-301, 1984.
    """
    data = np.asarray(shares, dtype=np.float64)
    square = float((data**2).sum())
    return float(data.sum() ** 2 / (data.size * square)) if square else float("nan")


def bucket_quantile(bounds: Sequence[float], cumulative: Sequence[float], q: float) -> float:
    """Quantile of a histogram: `cumulative[i]` samples are <= bounds[i] (ascending, the last may be infinite).

    Linear within a bucket, as Prometheus' histogram_quantile does; the open last bucket counts as its lower bound.
    NaN of an empty histogram.
    """
    total = cumulative[-1] if cumulative else 0.0
    if not total:
        return float("nan")
    rank = q * total
    index = next(i for i, count in enumerate(cumulative) if count >= rank)
    below = cumulative[index - 1] if index else 0.0
    lower = bounds[index - 1] if index else 0.0
    if np.isinf(bounds[index]):
        return lower
    inside = cumulative[index] - below
    return lower + (bounds[index] - lower) * ((rank - below) / inside if inside else 0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """y = intercept + slope x by least squares, each with its interval (pairs resampled)."""

    intercept: Estimate
    slope: Estimate


def line(points: Sequence[tuple[float, float]], seed: int = 1) -> Line:
    """Fit (x, y). Raises ValueError unless two different x are there."""
    data = np.asarray(points, dtype=np.float64)
    if data.ndim != 2 or len(set(data[:, 0])) < 2:
        raise ValueError("a line needs points at two different x")
    rng = np.random.default_rng(seed)
    fits = [_fit(data[rng.integers(0, len(data), size=len(data))]) for _ in range(RESAMPLES // 4)]
    samples = np.asarray([fit for fit in fits if np.isfinite(fit).all()])
    intercept, slope = _fit(data)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(samples, (tail, 1.0 - tail), axis=0)
    return Line(
        Estimate(intercept, float(low[0]), float(high[0]), len(data)),
        Estimate(slope, float(low[1]), float(high[1]), len(data)),
    )


def _fit(data: Values) -> tuple[float, float]:
    """NaN when a resample holds one x only."""
    x, y = data[:, 0], data[:, 1]
    spread = float(((x - x.mean()) ** 2).sum())
    if not spread:
        return float("nan"), float("nan")
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    return float(y.mean()) - slope * float(x.mean()), slope
