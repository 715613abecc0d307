"""Bounds of quantiles hold the true quantile as often as they say, ties and groups included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.stats import order


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert [order.quantile(values, q) for q in (0.25, 0.5, 0.51, 0.95, 1.0)] == [1.0, 2.0, 3.0, 4.0, 4.0]
    assert order.quantile(np.arange(1.0, 101.0), 0.95) == 95.0
    assert order.quantile(np.empty(0), 0.5) is None


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=200), st.floats(0.01, 1.0))
@settings(max_examples=150)
def test_a_quantile_is_numpys_inverted_cdf(values: list[float], q: float) -> None:
    ordered = np.sort(np.array(values))
    if abs(q * len(values) - round(q * len(values))) > 1e-6:  # at a whole rank rounding decides
        assert order.quantile(ordered, q) == np.quantile(ordered, q, method="inverted_cdf")


def test_ranks_meet_their_definition_exactly() -> None:
    from scipy.stats import binom

    for n, q, confidence in ((20, 0.5, 0.95), (400, 0.95, 0.95), (1000, 0.99, 0.9), (73, 0.9, 0.99)):
        low, high = order.ranks(n, q, confidence)
        tail = (1 - confidence) / 2
        assert low is not None
        assert binom.cdf(low - 1, n, q) <= tail < binom.cdf(low, n, q)
        if high is None:
            assert binom.sf(n - 1, n, q) > tail
        else:
            assert binom.sf(high - 1, n, q) <= tail < binom.sf(high - 2, n, q)


def test_too_small_a_sample_has_no_bound() -> None:
    assert order.ranks(71, 0.95, 0.95)[1] is None  # 0.95 ** 71 > 0.025 >= 0.95 ** 72
    assert order.ranks(72, 0.95, 0.95)[1] == 72
    assert order.bounds(np.ones(5), 0.5, 0.95) == (None, None)
    assert order.bounds(np.empty(0), 0.5, 0.95) == (None, None)


@pytest.mark.parametrize(("n", "q"), [(30, 0.5), (100, 0.9), (200, 0.95), (600, 0.99)])
@pytest.mark.parametrize("ties", [False, True])
def test_bounds_hold_the_true_quantile_as_often_as_they_say(n: int, q: float, ties: bool) -> None:
    draws = np.random.default_rng(11).exponential(size=(3000, n))
    truth = -np.log(1 - q)
    if ties:  # a clock of coarse steps
        draws, truth = np.ceil(draws * 4) / 4, float(np.ceil(truth * 4) / 4)
    low, high = order.ranks(n, q, 0.95)
    ordered = np.sort(draws, axis=1)
    above = ordered[:, low - 1] <= truth if low else True
    below = ordered[:, high - 1] >= truth if high else True
    assert np.mean(above & below) >= 0.95 - 0.009


def test_gaps_of_alike_streams_count_as_fewer() -> None:
    rng = np.random.default_rng(3)
    streams, gaps = 200, 50
    owner = np.repeat(np.arange(streams), gaps)
    free = rng.exponential(size=streams * gaps)
    alike = free * np.repeat(rng.lognormal(sigma=0.7, size=streams), gaps)

    def worth(values: np.ndarray) -> int:
        return order.effective_size(values, owner, 0.95, float(np.quantile(values, 0.95)))

    assert worth(free) > 0.7 * len(free)
    assert worth(alike) < 0.4 * len(alike)
    assert order.effective_size(np.ones(50), np.zeros(50, dtype=np.int64), 0.5, 1.0) == 1


def test_bounds_of_grouped_values_cover_where_naive_ones_do_not() -> None:
    rng = np.random.default_rng(5)
    streams, gaps, q = 60, 30, 0.9
    owner = np.repeat(np.arange(streams), gaps)

    def draw(many: int) -> np.ndarray:
        return rng.exponential(size=many * gaps) * np.repeat(rng.lognormal(sigma=1.0, size=many), gaps)

    truth = float(np.quantile(draw(200_000), q))
    naive = covered = 0
    for _ in range(600):
        values = draw(streams)
        ordered = np.sort(values)
        measured = order.quantile(ordered, q)
        assert measured is not None
        for size in (len(values), order.effective_size(values, owner, q, measured)):
            low, high = order.bounds(ordered, q, 0.95, size)
            held = (low is None or low <= truth) and (high is None or truth <= high)
            if size == len(values):
                naive += held
            else:
                covered += held
    assert naive / 600 < 0.80
    assert covered / 600 > 0.92
