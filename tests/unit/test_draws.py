"""Exact arithmetic is right to the last few bits, and the draws made of it have the moments that they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scenarios import draws, exact
from scenarios.definition import Lengths, Spread
from scenarios.lengths import lengths


def ulps(found: draws.Floats, true: draws.Floats) -> float:
    return float(np.max(np.abs(found - true) / np.spacing(np.abs(true))))


def test_log_and_exp_are_within_four_units_in_the_last_place() -> None:
    x = np.concatenate([1 - draws.uniforms(draws.stream(1, 0), 20_000), np.geomspace(1e-300, 1e300, 5000)])
    assert ulps(exact.log(x), np.array([math.log(one) for one in x])) <= 4
    y = np.linspace(-700, 700, 20_001)
    assert ulps(exact.exp(y), np.array([math.exp(one) for one in y])) <= 4


def test_log_of_one_and_exp_of_nought_are_exact() -> None:
    assert exact.log(np.array([1.0]))[0] == 0.0
    assert exact.exp(np.array([0.0]))[0] == 1.0


def test_the_cosine_is_right_all_round_and_exact_at_the_quarters() -> None:
    turns = np.linspace(-2, 2, 4001)
    assert np.abs(exact.cosine(turns) - np.cos(2 * np.pi * turns)).max() < 1e-14
    assert exact.cosine(np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [1.0, 0.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize("x", [0.01, 0.3, 0.5, 1.0, 1.5, 2.0, 3.7, 15.9, 16.0, 120.5])
def test_log_gamma_is_the_library_s(x: float) -> None:
    assert exact.log_gamma(x) == pytest.approx(math.lgamma(x), rel=1e-14, abs=2e-14)


@pytest.mark.parametrize("make", [lambda b: draws.gamma(b, 2.0), lambda b: draws.weibull(b, 2.0), draws.normal])
def test_how_many_are_drawn_at_a_time_does_not_change_them(make: object) -> None:
    once, often = make(draws.stream(1, 0)), make(draws.stream(1, 0))  # type: ignore[operator]
    pieces = np.concatenate([often(count) for count in (1, 10, 89, 900)])
    assert pieces.tolist() == once(1000).tolist()


def test_a_gamma_number_without_variation_is_always_one() -> None:
    assert draws.gamma(draws.stream(1, 0), 0.0)(3).tolist() == [1.0, 1.0, 1.0]


def test_exactly_as_many_as_asked_for_are_taken() -> None:
    for count in (0, 1, 1000):
        assert len(draws.take(draws.gamma(draws.stream(1, 0), 3.0), count)) == count


def test_normal_numbers_are_normal() -> None:
    numbers = draws.take(draws.normal(draws.stream(2, 0)), 50_000)
    assert stats.kstest(numbers, stats.norm.cdf).pvalue > 0.01


def test_weighted_places_come_as_often_as_their_weights_and_never_without() -> None:
    found = np.bincount(draws.weighted(draws.stream(3, 0), [0.0, 3.0, 1.0, 0.0], 40_000), minlength=4)
    assert found[0] == found[3] == 0
    assert stats.chisquare(found[1:3], [30_000, 10_000]).pvalue > 0.01


def test_a_shuffle_holds_each_number_once() -> None:
    shuffled = draws.order(draws.stream(1, 0), 100)
    assert sorted(shuffled.tolist()) == list(range(100))
    assert shuffled.tolist() != list(range(100))


@pytest.mark.parametrize(
    ("spec", "mean", "deviation"),
    [
        (Lengths(Spread.CONSTANT, 7, 7, 7.0), 7.0, 0.0),
        (Lengths(Spread.UNIFORM, 2, 6), 4.0, math.sqrt(2)),
        (Lengths(Spread.NORMAL, 1, 10_000, 500.0, 0.2), 500.0, 100.0),
        (Lengths(Spread.LOGNORMAL, 1, 1_000_000, 500.0, 0.5), 500.0, 250.0),
    ],
)
def test_lengths_have_the_mean_and_deviation_asked_for(spec: Lengths, mean: float, deviation: float) -> None:
    found = lengths(spec, draws.stream(4, 0), 50_000)
    assert found.dtype == np.int64
    assert spec.low <= found.min() <= found.max() <= spec.high
    assert found.mean() == pytest.approx(mean, rel=0.01)
    assert found.std() == pytest.approx(deviation, rel=0.03)


def test_lengths_are_cut_off_at_their_bounds() -> None:
    found = lengths(Lengths(Spread.LOGNORMAL, 100, 300, 200.0, 1.0), draws.stream(4, 0), 1000)
    assert (found.min(), found.max()) == (100, 300)
