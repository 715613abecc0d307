"""A test that may be looked at all the time errs no more often than it says, and depends on counts alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.stats import needed
from scenarios.stats.anytime import RateTest

LIMIT = -np.log(0.05)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.95, 0.99])
def test_the_true_rate_is_excluded_at_any_moment_in_no_more_runs_than_the_level(rate: float) -> None:
    test = RateTest(rate, 0.95)
    hits = np.cumsum(np.random.default_rng(3).random((1000, 1500)) < rate, axis=1)
    wrong = 0
    for run in hits:
        looks = (test.side(int(run[n - 1]), n) for n in range(1, 1501, 10))
        wrong += any(looks)
    assert wrong <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)


def test_the_martingale_is_the_ratio_of_mixture_and_likelihood() -> None:
    test = RateTest(0.95, 0.95)
    a, b = 38.0, 2.0  # weight 2 on the rarer side, mean at the bound
    chance = np.random.default_rng(1).beta(a, b, 400_000)
    mixed = np.log(np.mean(chance**18 * (1 - chance) ** 2)) - (18 * np.log(0.95) + 2 * np.log(0.05))
    assert test.log_martingale(18, 20) == pytest.approx(mixed, abs=0.01)


@given(n=st.integers(1, 3000), data=st.data(), bound=st.sampled_from([0.001, 0.05, 0.5, 0.95, 0.999]))
def test_the_interval_leaves_out_the_bound_exactly_when_the_test_speaks(
    n: int, data: st.DataObject, bound: float
) -> None:
    hits = data.draw(st.integers(0, n))
    test = RateTest(bound, 0.99)
    low, high = test.interval(hits, n)
    assert 0.0 <= low <= hits / n <= high <= 1.0
    assert test.side(hits, n) == (1 if low > bound + 1e-12 else -1 if high < bound - 1e-12 else 0)


@given(n=st.integers(1, 2000), q=st.sampled_from([0.5, 0.95, 0.99]), alike=st.sampled_from([1.0, 1.7, 30.0]))
def test_ranks_are_where_the_test_of_a_count_starts_to_speak(n: int, q: float, alike: float) -> None:
    test = RateTest(q, 0.95)
    low, high = test.ranks(n, alike)
    below = [hits for hits in range(n + 1) if test.side(hits / alike, n / alike) < 0]
    above = [hits for hits in range(n + 1) if test.side(hits / alike, n / alike) > 0]
    assert low == (max(below) + 1 if below else None)
    assert high == (min(above) if above else None)


def test_it_costs_less_than_twice_what_a_single_look_does() -> None:
    test = RateTest(0.95, 0.95)
    rng = np.random.default_rng(5)
    took = []
    for _ in range(60):
        hits = np.cumsum(rng.random(4000) < 0.98)
        took.append(next(n for n in range(1, 4001) if test.side(int(hits[n - 1]), n) > 0))
    assert np.median(took) < 700  # a single look at 95 % needs 420 to be settled in nine of ten runs


def test_a_forecast_of_more_trials_comes_true() -> None:
    test = RateTest(0.95, 0.95)
    more = needed.more_for_test(test, 98, 100)
    assert more is not None
    assert test.side(0.98 * (100 + more), 100 + more) == 1
    assert test.side(0.98 * (99 + more), 99 + more) == 0
    assert needed.more_for_test(test, 95, 100) is None
    assert needed.more_for_test(test, 0, 0) is None


@pytest.mark.parametrize(("bound", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.5, 1.0)])
def test_a_bound_on_the_edge_cannot_be_tested_so(bound: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        RateTest(bound, confidence)
