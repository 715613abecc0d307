"""Quantiles of a sample and their distribution-free confidence bounds.

Quantile: the inverse of the empirical distribution function, nearest rank (type 1 of Hyndman and Fan, "Sample quantiles
in statistical packages", The American Statistician 50, 1996): the smallest value with at least a share q at or below
it. It is always a value that was measured.

Bounds: for any distribution the number of n independent samples at or below the true quantile is Binomial(n, q), so two
order statistics hold it between them with known confidence (David and Nagaraja, "Order Statistics", 3rd ed., 7.1). Ties
only widen the coverage. Where the sample is too small for a rank at that confidence there is no bound: None.

Values that come in groups (the gaps of one stream) are not independent. Their effective number is n / deff with
deff = g / (g - 1) times the sum over the g groups of (s - mean s)^2 / (n q (1 - q)), where s sums I(x <= quantile) - q
in a group, never below 1 (Woodruff, JASA 47, 1952, with the effective sample size of Korn and Graubard, Survey
Methodology 24, 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.stats import binomial

Floats = npt.NDArray[np.float64]


def rank(q: float, n: int) -> int:
    """The 1-based nearest rank of quantile `q` among `n` >= 1 sorted values."""
    return min(n, max(1, math.ceil(q * n - 1e-9)))


def quantile(ordered: Floats, q: float) -> float | None:
    """The type-1 quantile of values sorted upwards; None for an empty sample."""
    return float(ordered[rank(q, len(ordered)) - 1]) if len(ordered) else None


def ranks(n: int, q: float, confidence: float) -> tuple[int | None, int | None]:
    """1-based ranks (low, high): x[low] <= true quantile <= x[high], each side at (1 - confidence) / 2.

    low is the largest rank with P(Bin(n, q) < low) <= tail, high the smallest with P(Bin(n, q) >= high) <= tail.
    """
    tail = (1.0 - confidence) / 2.0
    if n <= 0:
        return None, None
    few = largest(n, lambda hits: binomial.at_most(hits, n, q) <= tail)
    enough = largest(n, lambda hits: binomial.at_most(hits, n, q) < 1.0 - tail)
    low = few + 1 if few >= 0 else None
    high = enough + 2 if enough + 2 <= n else None
    return low, high


def bounds(
    ordered: Floats, q: float, confidence: float, effective_n: int | None = None
) -> tuple[float | None, float | None]:
    """Two-sided bounds of the quantile from values sorted upwards; a side without a bound is None.

    With `effective_n` the ranks are those of so many independent values, spread over the real ones, outwards.
    """
    n = len(ordered)
    size = n if effective_n is None else min(n, effective_n)
    low, high = ranks(size, q, confidence)
    if low is not None:
        low = max(1, low * n // size)
    if high is not None:
        high = min(n, -(-high * n // size))
    return (
        float(ordered[low - 1]) if low is not None else None,
        float(ordered[high - 1]) if high is not None else None,
    )


def effective_size(values: Floats, groups: npt.NDArray[Any], q: float, at: float) -> int:
    """How many independent values these are worth for quantile `q`, estimated as `at`; `groups` are numbers from 0."""
    n = len(values)
    if n == 0:
        return 0
    sums = np.bincount(groups, weights=(values <= at) - q)
    present = np.bincount(groups) > 0
    count = int(present.sum())
    if count < 2:
        return count
    variance = float(np.square(sums[present] - sums[present].mean()).sum()) * count / (count - 1)
    effect = max(1.0, variance / (n * q * (1.0 - q)))
    return max(1, int(n / effect))


def largest(n: int, holds: Callable[[int], bool]) -> int:
    """The largest hits in -1..n for which `holds`, a predicate that is true up to some point."""
    low, high = -1, n
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
