"""Lags are counted coarsely and cheaply; what is drawn from the counts stays within a bucket of the truth."""

from __future__ import annotations

import random

import pytest

from scenarios.load.lag import LagHistogram

MS = 1_000_000
BUCKET = 2 ** (1 / 8)


def histogram(lags_ms: list[float]) -> LagHistogram:
    counts = LagHistogram()
    for lag_ms in lags_ms:
        counts.add(round(lag_ms * MS))
    return counts


def waited_longer(lags_s: list[float], every_s: float, limit_s: float) -> float:
    """The share of moments with a longer wait, by its definition."""
    return sum(max(0.0, lag - limit_s) for lag in lags_s) / sum(every_s + lag for lag in lags_s)


def test_what_comes_at_a_random_moment_of_a_stall_waits_for_the_rest_of_it() -> None:
    counts = histogram([500.0] + [0.0] * 9_900)  # half a second in a minute of 5 ms beats
    assert counts.wait_quantile_s(0.5, 0.005) == pytest.approx(0.0, abs=2e-6)
    assert counts.wait_quantile_s(0.99, 0.005) == pytest.approx(0.0, abs=2e-6)
    assert counts.wait_quantile_s(0.999, 0.005) == pytest.approx(0.45, abs=0.005)
    assert counts.wait_quantile_s(1.0, 0.005) == pytest.approx(0.5)
    assert counts.quantile_s(0.999) == pytest.approx(0.0, abs=2e-6)  # what a quantile of the lags does not see


@pytest.mark.parametrize("seed", range(5))
def test_the_wait_of_a_share_of_moments_is_the_inverse_of_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    lags_ms = [rng.expovariate(2.0) if rng.random() < 0.9 else rng.uniform(5, 80) for _ in range(2_000)]
    counts = histogram(lags_ms)
    for q in (0.1, 0.5, 0.9, 0.99, 0.999):
        wait_s = counts.wait_quantile_s(q, 0.005)
        assert wait_s is not None
        lags_s = [lag_ms / 1e3 for lag_ms in lags_ms]
        assert waited_longer(lags_s, 0.005, wait_s * BUCKET + 2e-6) <= 1.0 - q + 1e-9
        assert wait_s == 0.0 or waited_longer(lags_s, 0.005, wait_s / BUCKET - 2e-3) >= 1.0 - q


def test_shares_and_sums_above_a_limit() -> None:
    counts = histogram([1.0, 2.0, 30.0, 60.0])
    assert counts.share_above(0.010) == 0.5
    assert counts.stalled_s(0.010) == pytest.approx(0.09, rel=0.1)
    assert counts.stalled_s(0.0) == pytest.approx(0.093, rel=0.1)


def test_nothing_measured_is_said_and_not_guessed() -> None:
    assert LagHistogram().wait_quantile_s(0.99, 0.005) is None
    assert LagHistogram().share_above(0.01) == LagHistogram().stalled_s(0.0) == 0.0
