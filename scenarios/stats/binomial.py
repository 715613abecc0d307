"""Exact binomial intervals, and Fisher's exact test for two rates.

Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26 (1934). The limits are quantiles of beta distributions: lower = B(a; k, n-k+1), upper = B(1-a; k+1, n-k).
Their coverage is never below the stated confidence; it is above it where n is small.
"""

from __future__ import annotations

import math


def lower(hits: float, n: float, confidence: float) -> float:
    """The one-sided lower limit of a rate, 0..1, for `hits` of `n`; 0.0 when there is nothing to judge by.

    `hits` and `n` may be fractional, which is how an effective sample size enters (Korn and Graubard 1998).
    """
    if n <= 0 or hits <= 0:
        return 0.0
    from scipy.special import betaincinv

    return float(betaincinv(hits, n - hits + 1, 1.0 - confidence))


def upper(hits: float, n: float, confidence: float) -> float:
    """The one-sided upper limit of a rate, 0..1, for `hits` of `n`; 1.0 when there is nothing to judge by."""
    if n <= 0 or hits >= n:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(hits + 1, n - hits, confidence))


def interval(hits: float, n: float, confidence: float) -> tuple[float, float]:
    """The two-sided interval with equal tails: each side at (1 - confidence) / 2. (0.0, 1.0) when n is 0."""
    one_sided = (1.0 + confidence) / 2.0
    return lower(hits, n, one_sided), upper(hits, n, one_sided)


def difference(hits_a: float, n_a: float, hits_b: float, n_b: float, confidence: float) -> tuple[float, float]:
    """An interval of rate A - rate B, -1..1, from the intervals of each by "square and add".

    Source: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine
    17 (1998), method 10, with exact limits in place of Wilson's: never narrower. (-1.0, 1.0) where either n is 0.
    """
    if n_a <= 0 or n_b <= 0:
        return -1.0, 1.0
    (low_a, high_a), (low_b, high_b) = interval(hits_a, n_a, confidence), interval(hits_b, n_b, confidence)
    a, b = hits_a / n_a, hits_b / n_b
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def at_most(hits: int, n: int, rate: float) -> float:
    """P(X <= hits) for X ~ Binomial(n, rate)."""
    if hits < 0:
        return 0.0
    if hits >= n:
        return 1.0
    from scipy.special import bdtr

    return float(bdtr(hits, n, rate))


def fisher_worse(errors_a: int, n_a: int, errors_b: int, n_b: int) -> float:
    """One-sided p of Fisher's exact test that B's error rate is not above A's: P(X >= errors_b), X hypergeometric.

    Source: R. A. Fisher, "On the interpretation of chi-squared from contingency tables", JRSS 85 (1922).
    """
    from scipy.special import gammaln

    errors, n = errors_a + errors_b, n_a + n_b
    most = min(errors, n_b)
    if errors_b <= max(0, errors - n_a) or n_a == 0 or n_b == 0:
        return 1.0

    def log_choose(of: int, take: int) -> float:
        return float(gammaln(of + 1) - gammaln(take + 1) - gammaln(of - take + 1))

    total = log_choose(n, n_b)
    tail = sum(
        math.exp(log_choose(errors, x) + log_choose(n - errors, n_b - x) - total) for x in range(errors_b, most + 1)
    )
    return min(1.0, tail)
