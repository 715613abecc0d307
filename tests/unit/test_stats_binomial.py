"""Exact intervals cover at least what they promise, and forecasts of `needed` come true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.stats import binomial, needed


def test_limits_are_those_of_clopper_and_pearson() -> None:
    from scipy.stats import binomtest

    for hits, n in ((0, 10), (1, 10), (5, 10), (9, 10), (10, 10), (380, 400)):
        exact = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="exact")
        assert binomial.interval(hits, n, 0.95) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize(("rate", "n"), [(0.01, 50), (0.05, 200), (0.3, 30), (0.95, 100), (0.999, 1000)])
def test_an_interval_covers_the_true_rate_at_least_as_often_as_it_says(rate: float, n: int) -> None:
    draws = np.random.default_rng(7).binomial(n, rate, size=4000)
    intervals = {int(hits): binomial.interval(int(hits), n, 0.95) for hits in np.unique(draws)}
    covered = np.mean([intervals[int(hits)][0] <= rate <= intervals[int(hits)][1] for hits in draws])
    assert covered >= 0.95 - 0.008  # two standard errors of the simulation


@given(n=st.integers(1, 500), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=200, deadline=None)
def test_an_interval_holds_the_observed_rate_and_two_sides_are_wider_than_one(
    n: int, data: st.DataObject, confidence: float
) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = binomial.interval(hits, n, confidence)
    assert 0.0 <= low <= hits / n <= high <= 1.0
    assert low <= binomial.lower(hits, n, confidence)
    assert high >= binomial.upper(hits, n, confidence)


def test_without_samples_everything_is_possible() -> None:
    assert binomial.interval(0, 0, 0.95) == (0.0, 1.0)


def test_fisher_agrees_with_scipy() -> None:
    from scipy.stats import fisher_exact

    for errors_a, n_a, errors_b, n_b in ((2, 100, 9, 60), (0, 80, 0, 60), (5, 90, 1, 60), (0, 80, 3, 30)):
        table = [[errors_b, n_b - errors_b], [errors_a, n_a - errors_a]]
        expected = fisher_exact(table, alternative="greater").pvalue
        assert binomial.fisher_worse(errors_a, n_a, errors_b, n_b) == pytest.approx(expected, abs=1e-9)


@given(n=st.integers(5, 400), data=st.data(), bound=st.floats(0.05, 0.95))
@settings(max_examples=150, deadline=None)
def test_as_many_more_as_were_said_settle_a_rate_that_goes_on_and_one_less_does_not(
    n: int, data: st.DataObject, bound: float
) -> None:
    hits = data.draw(st.integers(0, n))
    more = needed.more_for_rate(hits, n, 0.95, minimum=bound)
    if more is None:
        assert abs(hits / n - bound) < 0.002
        return

    def open_at(size: int) -> bool:
        low, high = binomial.interval(hits / n * size, size, 0.95)
        return low < bound <= high

    assert not open_at(n + more)
    assert more == 0 or open_at(n + more - 1)


def test_a_rate_on_its_bound_is_never_settled() -> None:
    assert needed.more_for_rate(95, 100, 0.95, minimum=0.95) is None
    assert needed.more_for_rate(0, 0, 0.95, minimum=0.95) is None


def test_a_p99_with_every_value_inside_needs_368_samples_at_95_percent() -> None:
    assert needed.more_for_quantile(100, 100, 0.99, 0.95) == 268  # 0.99 ** 368 <= 0.025 < 0.99 ** 367


def test_samples_become_requests_at_the_yield_seen_so_far() -> None:
    assert needed.in_requests(10, samples=80, requests=100) == 13
    assert needed.in_requests(10, samples=4000, requests=100) == 1
    assert needed.in_requests(None, samples=80, requests=100) is None
