"""Recovery times on constructed runs: one request a quarter of a second, served well or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.recovery import Disturbance, Service, WayBack


def recovered(
    bad: list[tuple[float, float]], one: Disturbance, *, seconds: float = 60, gap: float = 0.25
) -> float | None:
    """Recovery of a run in which requests due in the `bad` stretches were not served well."""
    due = np.arange(0, seconds, gap)
    good = np.ones(len(due), dtype=np.bool_)
    for start, end in bad:
        good &= ~((due >= start) & (due < end))
    return Service(due, good).way_back(one).recovered_s


def test_an_outage_is_over_when_requests_are_served_again() -> None:
    assert recovered([(20, 27)], Disturbance("engine.kill", 20.0)) == 7.0


def test_a_fault_that_nobody_felt_recovers_at_once() -> None:
    assert recovered([], Disturbance("engine.kill", 20.0)) == 0.0


def test_a_fault_that_is_felt_later_counts_from_its_start() -> None:
    assert recovered([(24, 30)], Disturbance("kv.pressure", 20.0)) == 10.0


def test_a_flicker_shorter_than_the_window_is_no_recovery() -> None:
    assert recovered([(20, 23), (25, 28)], Disturbance("engine.kill", 20.0)) == 8.0


def test_a_pause_as_long_as_the_window_is_one() -> None:
    assert recovered([(20, 23), (27, 28)], Disturbance("engine.kill", 20.0)) == 3.0


def test_a_run_that_ends_outside_the_slo_has_not_recovered() -> None:
    assert recovered([(20, 60)], Disturbance("engine.kill", 20.0)) is None
    assert recovered([(20, 58.5)], Disturbance("engine.kill", 20.0)) is None


def test_a_disturbance_after_the_last_request_tells_nothing() -> None:
    assert recovered([], Disturbance("engine.kill", 70.0)) is None


def test_a_miss_long_after_the_fault_is_not_blamed_on_it() -> None:
    assert recovered([(45, 46)], Disturbance("engine.kill", 20.0)) == 0.0
    assert recovered([(45, 46)], Disturbance("kv.pressure", 20.0, until_s=44.0)) == 26.0


def test_a_spike_counts_from_its_end_while_the_queue_drains() -> None:
    assert recovered([(12, 24)], Disturbance("spike", 20.0, until_s=20.0)) == 4.0
    assert recovered([(12, 18)], Disturbance("spike", 20.0, until_s=20.0)) == 0.0


def test_sparse_requests_are_judged_by_the_next_five() -> None:
    assert recovered([(20, 30)], Disturbance("engine.kill", 20.0), gap=2.0) == 10.0
    assert recovered([(20, 30), (34, 35)], Disturbance("engine.kill", 20.0), gap=2.0) == 16.0


def test_one_miss_in_twenty_does_not_keep_a_service_out() -> None:
    assert recovered([(20, 25), (26, 26.1)], Disturbance("engine.kill", 20.0), gap=0.1) == 5.0


@given(st.floats(5, 40), st.floats(0.5, 10), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_order_of_requests_changes_nothing_and_recovery_ends_after_the_outage(
    at_s: float, length_s: float, seed: int
) -> None:
    due = np.arange(0, 60, 0.2)
    good = ~((due >= at_s) & (due < at_s + length_s))
    mix = np.random.default_rng(seed).permutation(len(due))
    one = Disturbance("engine.kill", at_s)
    straight, mixed = Service(due, good).way_back(one), Service(due[mix], good[mix]).way_back(one)
    assert straight == mixed
    assert straight.recovered_s == pytest.approx(length_s, abs=0.2 + 1e-9)


def test_no_requests_no_recovery() -> None:
    empty = Service(np.empty(0), np.empty(0, dtype=np.bool_)).way_back(Disturbance("engine.kill", 1.0))
    assert empty == WayBack()


def test_a_fault_too_near_the_end_for_a_whole_window_has_no_recovery() -> None:
    due = np.arange(0.0, 60.0, 0.25)
    way_back = Service(due, np.ones(len(due), dtype=bool)).way_back(Disturbance("engine.kill", 58.0))
    assert way_back.recovered_s is None


def test_a_window_that_the_run_did_not_see_to_its_end_is_outside_only_where_nothing_more_could_have_helped() -> None:
    due = np.arange(0, 60, 0.05)
    one_bad, many_bad = due != due[-5], due < 59.6
    assert not Service(due, one_bad).way_back(Disturbance("engine.kill", 59.0)).left
    assert Service(due, many_bad).way_back(Disturbance("engine.kill", 59.0)).left


@pytest.mark.parametrize("gap_s", [0.5, 0.1, 0.05, 0.01])
def test_a_service_that_is_gone_to_the_last_request_is_known_to_be_so_at_every_rate(gap_s: float) -> None:
    due = np.arange(0, 60, gap_s)
    way_back = Service(due, due < 30).way_back(Disturbance("engine.kill", 30.0, 40.0))
    assert (way_back.recovered_s, way_back.told) == (None, True)
    assert way_back.watched_s == pytest.approx(30 - gap_s)


@pytest.mark.parametrize("gap_s", [0.5, 0.1, 0.05, 0.01])
def test_a_service_that_may_have_come_back_at_the_very_end_is_not_known_to_be_gone(gap_s: float) -> None:
    due = np.arange(0, 60, gap_s)
    way_back = Service(due, (due < 30) | (due >= 58)).way_back(Disturbance("engine.kill", 30.0, 40.0))
    assert (way_back.recovered_s, way_back.told) == (None, False)
    assert way_back.watched_s <= 28
