"""Due times follow the process that the scenario asks for. Statistical tests use fixed seeds at level 0.001."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scenarios.arrivals import NANO, due_times_ns, expected_count, uniforms
from scenarios.definition import ArrivalKind, Arrivals

LEVEL = 0.001


def bits(seed: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed))


def constant(rate: float, duration_s: float) -> Arrivals:
    return Arrivals(ArrivalKind.CONSTANT, duration_s, rate=rate)


def poisson(rate: float, duration_s: float) -> Arrivals:
    return Arrivals(ArrivalKind.POISSON, duration_s, rate=rate)


def gamma(rate: float, duration_s: float, cv: float) -> Arrivals:
    return Arrivals(ArrivalKind.GAMMA, duration_s, rate=rate, cv=cv)


def ramp(base: float, peak: float, duration_s: float) -> Arrivals:
    return Arrivals(ArrivalKind.RAMP, duration_s, base=base, peak=peak)


def spike(base: float, peak: float, duration_s: float, at_s: float, for_s: float) -> Arrivals:
    return Arrivals(ArrivalKind.SPIKE, duration_s, base=base, peak=peak, spike_at_s=at_s, spike_s=for_s)


@st.composite
def any_arrivals(draw: st.DrawFn) -> Arrivals:
    kind = draw(st.sampled_from(list(ArrivalKind)))
    duration_s = draw(st.floats(0.01, 500.0))
    low, high = draw(st.floats(0.01, 20.0)), draw(st.floats(0.01, 40.0))
    base = draw(st.sampled_from((0.0, low)))
    at = draw(st.floats(0.0, 0.99))
    length = draw(st.floats(0.001, 1.0)) * (1 - at)
    match kind:
        case ArrivalKind.GAMMA:
            return gamma(low, duration_s, draw(st.floats(0.05, 20.0)))
        case ArrivalKind.RAMP:
            return ramp(base, high, duration_s)
        case ArrivalKind.SPIKE:
            return spike(base, high + low, duration_s, at * duration_s, length * duration_s)
        case _:
            return Arrivals(kind, duration_s, rate=low)


@given(any_arrivals(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_due_times_are_sorted_and_inside_the_run(arrivals: Arrivals, seed: int) -> None:
    due = due_times_ns(arrivals, bits(seed))
    assert due.dtype == np.int64
    assert (np.diff(due) >= 0).all()
    assert not len(due) or 0 <= due[0] <= due[-1] < round(arrivals.duration_s * NANO)


@given(any_arrivals(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_number_of_requests_is_near_what_the_rate_promises(arrivals: Arrivals, seed: int) -> None:
    mean = expected_count(arrivals)
    cv = arrivals.cv if arrivals.kind is ArrivalKind.GAMMA else 1.0
    slack = 8 * max(cv, 1.0) * math.sqrt(mean + 1) + 10 * max(cv, 1.0) ** 2
    assert abs(len(due_times_ns(arrivals, bits(seed))) - mean) <= slack


@given(any_arrivals(), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_same_seed_gives_the_same_times(arrivals: Arrivals, seed: int) -> None:
    assert (due_times_ns(arrivals, bits(seed)) == due_times_ns(arrivals, bits(seed))).all()


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    due = due_times_ns(constant(4.0, 2.0), bits(0))
    assert due.tolist() == [i * NANO // 4 for i in range(8)]


def test_a_fraction_of_a_request_still_starts_at_zero() -> None:
    assert due_times_ns(constant(0.1, 1.0), bits(0)).tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_poisson_gaps_are_exponential(seed: int) -> None:
    gaps = np.diff(due_times_ns(poisson(20.0, 500.0), bits(seed))) / NANO
    assert stats.kstest(gaps, stats.expon(scale=1 / 20).cdf).pvalue > LEVEL


@pytest.mark.parametrize("seed", range(5))
def test_poisson_counts_are_as_dispersed_as_they_are_large(seed: int) -> None:
    counts = np.histogram(due_times_ns(poisson(20.0, 1000.0), bits(seed)) / NANO, bins=1000, range=(0, 1000))[0]
    dispersion = counts.var(ddof=1) / counts.mean() * 999  # chi-squared with 999 degrees of freedom
    assert LEVEL / 2 < stats.chi2(999).cdf(dispersion) < 1 - LEVEL / 2


@pytest.mark.parametrize("cv", [0.2, 0.7, 1.0, 1.5, 2.0])
def test_gamma_gaps_follow_the_gamma_distribution_of_that_variation(cv: float) -> None:
    gaps = np.diff(due_times_ns(gamma(20.0, 500.0, cv), bits(3))) / NANO
    shape = 1 / cv**2
    assert stats.kstest(gaps, stats.gamma(shape, scale=cv**2 / 20).cdf).pvalue > LEVEL
    assert gaps.mean() == pytest.approx(1 / 20, rel=5 * cv / math.sqrt(len(gaps)))


@pytest.mark.parametrize(
    "shape", [ramp(2.0, 40.0, 300.0), ramp(40.0, 0.0, 300.0), spike(5.0, 60.0, 300.0, 100.0, 50.0)]
)
def test_times_of_ramp_and_spike_follow_their_cumulative_rate(shape: Arrivals) -> None:
    total = expected_count(shape)
    cdf = np.vectorize(lambda t: expected_count(shape, float(t)) / total)
    for seed in range(3):
        due_s = due_times_ns(shape, bits(seed)) / NANO
        assert stats.kstest(due_s, cdf).pvalue > LEVEL


@pytest.mark.parametrize("shape", [ramp(2.0, 40.0, 300.0), spike(5.0, 60.0, 300.0, 100.0, 50.0)])
def test_rescaled_gaps_of_ramp_and_spike_are_exponential(shape: Arrivals) -> None:
    due_s = due_times_ns(shape, bits(7)) / NANO
    unit = np.diff([expected_count(shape, float(t)) for t in due_s])
    assert stats.kstest(unit, stats.expon.cdf).pvalue > LEVEL


@pytest.mark.parametrize("shape", [ramp(2.0, 40.0, 300.0), spike(5.0, 60.0, 300.0, 100.0, 50.0)])
def test_the_count_of_each_piece_matches_its_integral(shape: Arrivals) -> None:
    due_s = due_times_ns(shape, bits(11)) / NANO
    for start in range(0, 300, 25):
        mean = expected_count(shape, start + 25.0) - expected_count(shape, float(start))
        found = int(((due_s >= start) & (due_s < start + 25)).sum())
        assert stats.poisson(mean).cdf(found) > LEVEL / 12
        assert stats.poisson(mean).sf(found - 1) > LEVEL / 12


def test_a_spike_without_a_base_has_all_its_requests_inside() -> None:
    due_s = due_times_ns(spike(0.0, 50.0, 60.0, 20.0, 10.0), bits(1)) / NANO
    assert len(due_s) > 300
    assert ((due_s >= 20.0) & (due_s <= 30.0)).all()


def test_the_expected_count_stops_at_the_end() -> None:
    shape = spike(2.0, 10.0, 30.0, 10.0, 5.0)
    assert expected_count(shape) == 2 * 25 + 10 * 5
    assert expected_count(shape, 1e9) == expected_count(shape)
    assert expected_count(shape, 12.0) == 2 * 10 + 10 * 2


def test_uniforms_do_not_depend_on_how_many_are_drawn() -> None:
    assert uniforms(bits(5), 10).tolist() == uniforms(bits(5), 1000)[:10].tolist()


def test_plans_of_today_are_plans_of_tomorrow() -> None:
    """Pinned, so that a change of numpy, scipy or the code that would change old plans is seen."""
    shapes = (poisson(4.0, 60.0), gamma(4.0, 60.0, 2.0), ramp(1.0, 8.0, 60.0), spike(4.0, 20.0, 60.0, 24.0, 10.0))
    found = [due_times_ns(shape, bits(1)).tolist() for shape in shapes]
    assert [(len(times), times[0], times[-1]) for times in found] == PINNED


def test_a_longer_run_starts_with_the_same_poisson_arrivals() -> None:
    short = poisson(4.0, 20.0)
    long = dataclasses.replace(short, duration_s=60.0)
    early = due_times_ns(short, bits(2))
    assert due_times_ns(long, bits(2))[: len(early)].tolist() == early.tolist()


PINNED = [
    (237, 179268604, 59894246773),
    (237, 48121113, 59649449105),
    (276, 689353903, 59684299233),
    (416, 179268604, 59710550887),
]
