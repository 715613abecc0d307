"""Due times follow the process that the scenario asks for. Statistical tests use fixed seeds at level 0.01."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from scenarios.arrivals import NANO, Ints, due_times_ns
from scenarios.definition import ArrivalKind, Arrivals, Recording, Think, Window
from scenarios.draws import Floats, uniforms
from scenarios.rates import WAVE_PIECES, expected_count, rates_of

LEVEL = 0.01


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


def weibull(rate: float, duration_s: float, cv: float) -> Arrivals:
    return Arrivals(ArrivalKind.WEIBULL, duration_s, rate=rate, cv=cv)


def diurnal(base: float, peak: float, duration_s: float, period_s: float, phase: float = 0.0) -> Arrivals:
    return Arrivals(ArrivalKind.DIURNAL, duration_s, base=base, peak=peak, period_s=period_s, phase=phase)


def polygon(rates: tuple[float, ...], duration_s: float, period_s: float, phase: float = 0.0) -> Arrivals:
    return Arrivals(ArrivalKind.DIURNAL, duration_s, rates=rates, period_s=period_s, phase=phase)


def windows(*parts: Window) -> Arrivals:
    return Arrivals(ArrivalKind.WINDOWS, math.fsum(part.for_s for part in parts), windows=parts)


GENERATED = [kind for kind in ArrivalKind if kind not in (ArrivalKind.TRACE, ArrivalKind.TIMES, ArrivalKind.CLOSED)]


@st.composite
def any_arrivals(draw: st.DrawFn) -> Arrivals:
    kind = draw(st.sampled_from(GENERATED))
    duration_s = draw(st.floats(0.01, 500.0))
    low, high = draw(st.floats(0.01, 20.0)), draw(st.floats(0.01, 40.0))
    base = draw(st.sampled_from((0.0, low)))
    at = draw(st.floats(0.0, 0.99))
    length = draw(st.floats(0.001, 1.0)) * (1 - at)
    match kind:
        case ArrivalKind.GAMMA:
            return gamma(low, duration_s, draw(st.floats(0.05, 10.0)))
        case ArrivalKind.WEIBULL:
            return weibull(low, duration_s, draw(st.floats(0.05, 10.0)))
        case ArrivalKind.RAMP:
            return ramp(base, high, duration_s)
        case ArrivalKind.SPIKE:
            return spike(base, high + low, duration_s, at * duration_s, length * duration_s)
        case ArrivalKind.DIURNAL if base:
            rates = tuple(draw(st.lists(st.floats(0.0, 20.0), min_size=2, max_size=30)))
            return polygon((*rates, low), duration_s, duration_s * (length + 0.01), at)
        case ArrivalKind.DIURNAL:
            return diurnal(base, high, duration_s, duration_s * (length + 0.01), at)
        case ArrivalKind.WINDOWS:
            parts = st.builds(Window, st.floats(0.01, 100.0), st.floats(0.0, 20.0), st.floats(0.05, 4.0), st.booleans())
            return windows(*draw(st.lists(parts, min_size=1, max_size=6)), Window(1.0, low))
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
    cv = max((window.cv for window in arrivals.windows), default=arrivals.cv)
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


def weibull_cdf(cv: float) -> Callable[[Floats], Floats]:
    """Of mean 1 and that variation; the shape is found by scipy's own means."""
    shape = brentq(lambda k: stats.weibull_min(k).std() / stats.weibull_min(k).mean() - cv, 0.1, 100.0)
    return stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape)).cdf


def gamma_cdf(cv: float) -> Callable[[Floats], Floats]:
    return stats.gamma(1 / cv**2, scale=cv**2).cdf


STATIONARY = [
    *((poisson(20.0, 1000.0), 1.0, stats.expon.cdf, seed) for seed in range(5)),
    *((gamma(20.0, 1000.0, cv), cv, gamma_cdf(cv), 3) for cv in (0.2, 0.7, 1.0, 1.5, 2.0)),
    *((weibull(20.0, 1000.0, cv), cv, weibull_cdf(cv), 4) for cv in (0.2, 0.7, 1.0, 1.5, 2.0)),
]


@pytest.mark.parametrize(("shape", "cv", "cdf", "seed"), STATIONARY)
def test_gaps_follow_the_distribution_and_the_variation_asked_for(
    shape: Arrivals, cv: float, cdf: Callable[[Floats], Floats], seed: int
) -> None:
    gaps = np.diff(due_times_ns(shape, bits(seed))) / NANO * shape.rate
    assert stats.kstest(gaps, cdf).pvalue > LEVEL
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert gaps.mean() == pytest.approx(1.0, abs=5 * cv / math.sqrt(len(gaps)))


@pytest.mark.parametrize("seed", range(5))
def test_poisson_counts_are_as_dispersed_as_they_are_large(seed: int) -> None:
    counts = np.histogram(due_times_ns(poisson(20.0, 1000.0), bits(seed)) / NANO, bins=1000, range=(0, 1000))[0]
    dispersion = counts.var(ddof=1) / counts.mean() * 999  # chi-squared with 999 degrees of freedom
    assert LEVEL / 2 < stats.chi2(999).cdf(dispersion) < 1 - LEVEL / 2


CHANGING = [
    ramp(2.0, 40.0, 300.0),
    ramp(40.0, 0.0, 300.0),
    spike(5.0, 60.0, 300.0, 100.0, 50.0),
    diurnal(2.0, 40.0, 300.0, 300.0),
    diurnal(0.0, 40.0, 300.0, 90.0, 0.4),
    polygon(tuple(float(hour % 7 + hour) for hour in range(24)), 300.0, 240.0, 0.9),
    windows(Window(100.0, 40.0), Window(50.0, 0.0), Window(150.0, 5.0)),
]


@pytest.mark.parametrize("shape", CHANGING)
@pytest.mark.parametrize("seed", range(3))
def test_times_under_a_changing_rate_follow_its_integral(shape: Arrivals, seed: int) -> None:
    rates = rates_of(shape)
    due_s = due_times_ns(shape, bits(seed)) / NANO
    assert stats.kstest(due_s, lambda t_s: rates.until(t_s) / rates.before[-1]).pvalue > LEVEL
    gaps = np.diff(rates.until(due_s))
    assert stats.kstest(gaps, stats.expon.cdf).pvalue > LEVEL
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=5 / math.sqrt(len(gaps)))


@pytest.mark.parametrize("weibull", [False, True])
def test_each_window_has_gaps_of_its_own_distribution(weibull: bool) -> None:
    parts = (Window(500.0, 20.0, 0.5, weibull), Window(500.0, 40.0, 2.0, weibull), Window(500.0, 5.0, 1.0, weibull))
    shape = windows(*parts)
    rates = rates_of(shape)
    due_s = due_times_ns(shape, bits(5)) / NANO
    gaps = np.diff(rates.until(due_s))
    place = np.searchsorted([500.0, 1000.0], due_s[:-1], side="right")
    for number, part in enumerate(parts):
        own = gaps[place == number]
        cdf = weibull_cdf(part.cv) if weibull else gamma_cdf(part.cv)
        assert stats.kstest(own, cdf).pvalue > LEVEL
        assert len(own) == pytest.approx(part.rate * 500.0, rel=5 * part.cv / math.sqrt(len(own)))


def test_a_day_is_a_wave_that_begins_at_its_lowest() -> None:
    at_s = np.linspace(0.0, 240.0, 1001)[:-1]
    wave = 2.0 + 38.0 * (1 - np.cos(2 * np.pi * at_s / 120.0)) / 2
    rates = rates_of(diurnal(2.0, 40.0, 240.0, 120.0))
    assert np.abs(rates.at(at_s) - wave).max() < 38.0 * 0.0006
    assert len(rates.at_s) == 2 * WAVE_PIECES
    assert rates.at(np.array([0.0, 60.0])).tolist() == [2.0, 40.0]
    later = rates_of(diurnal(2.0, 40.0, 240.0, 120.0, phase=0.5))
    assert later.at(np.array([0.0, 60.0])).tolist() == pytest.approx([40.0, 2.0])


def test_hourly_rates_are_joined_by_straight_lines_round_the_clock() -> None:
    rates = rates_of(polygon((4.0, 8.0, 2.0), 60.0, 30.0))
    at_s = np.array([0.0, 5.0, 10.0, 20.0, 25.0, 30.0, 35.0])
    assert rates.at(at_s).tolist() == pytest.approx([4.0, 6.0, 8.0, 2.0, 3.0, 4.0, 6.0])
    assert expected_count(polygon((4.0, 8.0, 2.0), 60.0, 30.0)) == pytest.approx(60.0 * 14 / 3)


@given(any_arrivals(), st.floats(0.0, 1.0))
@settings(max_examples=150, deadline=None)
def test_the_inverse_of_the_integral_leads_back(arrivals: Arrivals, share: float) -> None:
    rates = rates_of(arrivals)
    count = np.array([share * rates.before[-1] * (1 - 1e-12)])
    at_s = rates.when(count)
    assert 0.0 <= at_s[0] <= arrivals.duration_s * (1 + 1e-9)
    assert rates.until(at_s)[0] == pytest.approx(count[0], rel=1e-9, abs=1e-9)


def test_closed_users_all_start_at_once() -> None:
    closed = Arrivals(ArrivalKind.CLOSED, 0.0, concurrency=3, requests=5, think=Think(1.0))
    assert due_times_ns(closed, bits(1)).tolist() == [0] * 5
    assert expected_count(closed) == 5


def test_a_trace_gives_its_own_times_up_to_the_end_of_the_run() -> None:
    recording = Recording("/x", "", 0.0, 20.0, (2, 1))
    trace = Arrivals(ArrivalKind.TRACE, 15.0, recording=recording, speed=1.0)
    recorded = np.array([0, 4 * NANO, 4 * NANO, 15 * NANO, 20 * NANO])
    assert due_times_ns(trace, bits(1), recorded).tolist() == [0, 4 * NANO, 4 * NANO]
    assert expected_count(trace) == pytest.approx(2.5)


@pytest.mark.parametrize("shape", CHANGING)
def test_the_count_of_each_piece_matches_its_integral(shape: Arrivals) -> None:
    due_s = due_times_ns(shape, bits(11)) / NANO
    for start in range(0, 300, 25):
        mean = expected_count(shape, start + 25.0) - expected_count(shape, float(start))
        found = int(((due_s >= start) & (due_s < start + 25)).sum())
        assert stats.poisson(mean).cdf(found) > LEVEL / 100
        assert stats.poisson(mean).sf(found - 1) > LEVEL / 100


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


def test_plans_of_today_are_plans_of_tomorrow_on_every_machine() -> None:
    """Pinned to the bit, so that a change of numpy, the machine or the code that would change old plans is seen."""
    found = {name: digest(due_times_ns(shape, bits(1))) for name, shape in TO_PIN.items()}
    assert found == PINNED


def digest(due: Ints) -> str:
    return f"{len(due)} {hashlib.sha256(due.astype('<i8').tobytes()).hexdigest()[:16]}"


def test_a_longer_run_starts_with_the_same_arrivals() -> None:
    for short in (poisson(4.0, 20.0), gamma(4.0, 20.0, 2.0), weibull(4.0, 20.0, 2.0)):
        long = dataclasses.replace(short, duration_s=6000.0)
        early = due_times_ns(short, bits(2))
        assert due_times_ns(long, bits(2))[: len(early)].tolist() == early.tolist()


TO_PIN = {
    "poisson": poisson(4.0, 600.0),
    "gamma": gamma(4.0, 600.0, 2.0),
    "weibull": weibull(4.0, 600.0, 2.0),
    "ramp": ramp(1.0, 8.0, 600.0),
    "spike": spike(4.0, 20.0, 600.0, 240.0, 100.0),
    "diurnal": diurnal(1.0, 8.0, 600.0, 150.0, 0.25),
    "windows": windows(Window(300.0, 4.0, 2.0, True), Window(300.0, 8.0, 0.5)),
}
PINNED = {
    "poisson": "2420 8ca44293bae8c37f",
    "gamma": "2486 c184c751c0270174",
    "weibull": "2434 d8ffd5f84305ffdc",
    "ramp": "2726 dbc8ba48d9129edf",
    "spike": "4016 11dc5a97fcd81c06",
    "diurnal": "2726 a44fe627d941591a",
    "windows": "3546 4d84ca5990eac21a",
}
