"""The search for a capacity: near the truth, in few probes, and honest where there is nothing to find."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.capacity.belief import believe, ceiling
from scenarios.capacity.probe import Kind, Probe, Record, best_stretch, measure
from scenarios.capacity.search import Found, Next, Rules, conclude, decide, holds
from scenarios.definition import ArrivalKind, Search
from tests.benchmarks.load_bench.simulated import SimulatedServer, capacity, search

CONSTANT, POISSON = ArrivalKind.CONSTANT, ArrivalKind.POISSON
RULES = Rules(Search(), start=4.0, budget_s=240.0, high=4000.0, cv2=0.0)


def off(server: SimulatedServer, kind: ArrivalKind, slo_s: float, truth: float, seed: int) -> float:
    found = search(server, kind, slo_s, seed).found
    assert found.rate is not None
    return abs(found.rate / truth - 1)


@pytest.mark.parametrize(
    ("server", "truth"),
    [
        (SimulatedServer("queues", 1, 20.0), 20.0),
        (SimulatedServer("queues", 8, 60.0), 60.0),
        (SimulatedServer("queues", 16, 150.0), 150.0),
        (SimulatedServer("turns away", 8, 150.0, room=32), 150.0 / 0.95),
    ],
)
@pytest.mark.parametrize("slo_s", [0.5, 2.0])
def test_a_fixed_service_is_found_within_three_percent(server: SimulatedServer, truth: float, slo_s: float) -> None:
    ended = search(server, CONSTANT, slo_s, seed=1)
    assert ended.found.rate == pytest.approx(truth, rel=0.03)
    assert len(ended.probes) <= 8
    assert ended.spent_s <= 240.0


@pytest.mark.parametrize(
    ("server", "kind"),
    [
        (SimulatedServer("M/D/8", 8, 60.0), POISSON),
        (SimulatedServer("M/D/1", 1, 20.0), POISSON),
        (SimulatedServer("D/M/16", 16, 150.0, exponential=True), CONSTANT),
        (SimulatedServer("M/M/16", 16, 150.0, exponential=True), POISSON),
        (SimulatedServer("M/D/8 turns away", 8, 150.0, room=32), POISSON),
    ],
)
def test_where_chance_rules_nearly_all_searches_end_within_three_percent(
    server: SimulatedServer, kind: ArrivalKind
) -> None:
    truth = capacity(server, kind, 0.5, 0.95, requests=60_000)
    assert sum(off(server, kind, 0.5, truth, seed) <= 0.035 for seed in range(10)) >= 9  # the truth is measured too


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.integers(1, 32),
    st.floats(5.0, 300.0),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 64)),
    st.sampled_from([CONSTANT, POISSON]),
    st.floats(0.5, 50.0),
    st.integers(0, 1000),
)
def test_whatever_the_server_a_search_ends_in_few_probes_with_an_interval_around_its_answer(
    workers: int, rate: float, chance: bool, queue: int | None, kind: ArrivalKind, start: float, seed: int
) -> None:
    room = None if queue is None else queue + workers
    ended = search(SimulatedServer("any", workers, rate, exponential=chance, room=room), kind, 0.5, seed, start)
    found = ended.found
    assert len(ended.probes) <= 8
    assert found.why
    if found.rate is not None:
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.rate <= found.high


def test_a_service_that_collapses_under_a_queue_is_not_taken_for_a_slow_one() -> None:
    server = SimulatedServer("collapses", 8, 60.0, collapse=0.01)
    rates = [search(server, CONSTANT, 0.5, seed).found.rate or 0.0 for seed in range(5)]
    assert sorted(rates)[2] == pytest.approx(60.0, rel=0.04)


def test_a_start_far_too_high_still_finds_the_capacity() -> None:
    found = search(SimulatedServer("slow", 8, 60.0), CONSTANT, 0.5, seed=1, start=100.0).found
    assert found.rate == pytest.approx(60.0, rel=0.03)


def test_a_service_that_no_load_fills_is_said_to_take_at_least_the_highest_rate() -> None:
    rules = dataclasses.replace(RULES, high=100.0)
    probes: list[Probe] = []
    while isinstance(step := decide(rules, probes, 15.0 * len(probes)), Next):
        assert step.end_rate <= 100.0
        probes.append(made(step.kind, step.rate, step.end_rate))
    assert step == Found(None, 100.0, None, "The capacity was not reached: every probe held, up to 100/s.")


def test_a_service_that_never_meets_its_slo_has_no_capacity() -> None:
    rules = dataclasses.replace(RULES, search=Search(low=2.0))
    probes: list[Probe] = []
    while isinstance(step := decide(rules, probes, 30.0 * len(probes)), Next):
        assert step.rate >= 2.0
        probes.append(made(step.kind, step.rate, step.end_rate, good=0.0, completed=step.rate))
    assert step.rate is None
    assert step.high is not None
    assert step.why.startswith("The service does not meet its SLO even at")


def test_where_nothing_comes_back_a_lower_rate_is_tried() -> None:
    step = decide(RULES, [made(Kind.RAMP, 64.0, 512.0, good=0.0, completed=0.0)], 20.0)
    assert isinstance(step, Next)
    assert (step.kind, step.rate, step.end_rate) == (Kind.RAMP, 1.0, 8.0)


def test_a_service_that_answers_nothing_ends_the_search_before_there_is_nothing_to_send() -> None:
    probes: list[Probe] = []
    while isinstance(step := decide(RULES, probes, 20.0 * len(probes)), Next):
        assert step.duration_s * (step.rate + step.end_rate) / 2 >= 2.0
        probes.append(made(step.kind, step.rate, step.end_rate, good=0.0, completed=0.0))
    assert step.rate is None
    assert step.why.startswith("The service does not meet its SLO even at")


def test_a_search_out_of_time_says_what_it_has() -> None:
    probes = [made(Kind.RAMP, 4.0, 32.0, good=0.5, completed=20.0), made(Kind.STEADY, 19.0, 19.0)]
    assert isinstance(decide(RULES, probes, 60.0), Next)
    found = decide(RULES, probes, 226.0)
    assert isinstance(found, Found)
    assert found.rate is not None
    assert conclude(RULES, ()) == Found(None, None, None, "The capacity was not reached: no probe was done.")


def test_a_growing_backlog_fails_a_probe_although_every_answer_is_good() -> None:
    grown = made(Kind.STEADY, 21.0, 21.0, growing=True)
    assert grown.good_share == 1.0
    assert not holds(grown, 0.95)
    assert holds(made(Kind.STEADY, 21.0, 21.0), 0.95)


def test_what_overload_serves_bounds_the_belief() -> None:
    over = made(Kind.STEADY, 25.0, 25.0, good=0.2, completed=20.0, growing=True)
    top = ceiling([over], 0.95, 0.0)
    assert top is not None
    assert top.served == 20.0
    belief = believe(20.0, 0.95, 0.0, [over, made(Kind.STEADY, 19.0, 19.0)])
    assert 19.0 <= belief.quantile(0.05) <= belief.quantile(0.5) <= 20.5


def test_a_backlog_that_grows_is_told_from_one_that_sways() -> None:
    assert steady(rate=24.0, served=20.0).growing
    assert steady(rate=24.0, served=20.0).backlog_per_s == pytest.approx(4.0, abs=0.3)
    assert steady(rate=24.0, served=20.0).completion_rate == pytest.approx(20.0, abs=0.3)
    assert not steady(rate=19.0, served=20.0).growing


def test_a_warm_up_counts_in_nothing() -> None:
    due = np.arange(0.0, 20.0, 0.1)
    bad = due < 4.0
    none = np.zeros(len(due), dtype=np.bool_)
    record = Record(due, due + 0.1, ~none, ~bad, none, np.where(bad, 9.0, 0.1), np.where(bad, -8.5, 0.4))
    probe = measure(Kind.STEADY, 10.0, 10.0, 20.0, record)
    assert (probe.due, probe.good, probe.ttft_p95_s) == (160, 160, 0.1)


def test_requests_that_fail_together_count_as_few() -> None:
    due = np.arange(0.0, 20.0, 0.05)
    none = np.zeros(len(due), dtype=np.bool_)
    clumped, spread = (due < 14.0) | (due >= 16.0), np.arange(len(due)) % 8 != 0
    few, many = (
        measure(Kind.STEADY, 20.0, 20.0, 20.0, Record(due, due + 0.1, ~none, good, none, due * 0, due * 0))
        for good in (clumped, spread)
    )
    assert few.good_share == pytest.approx(many.good_share, abs=0.01)
    assert few.effective < 12 < 50 < many.effective


def test_the_best_stretch_is_the_rate_at_the_peak() -> None:
    ends = np.concatenate((np.arange(0.0, 10.0, 0.1), np.arange(10.0, 20.0, 0.02)))
    assert best_stretch(ends) == pytest.approx(50.0, rel=0.02)
    assert best_stretch(ends[:1]) == 0.0


def steady(rate: float, served: float) -> Probe:
    due = np.arange(0.0, 20.0, 1 / rate)
    start = np.maximum(due, np.arange(len(due)) / served)
    none = np.zeros(len(due), dtype=np.bool_)
    ttft = start - due
    return measure(Kind.STEADY, rate, rate, 20.0, Record(due, start + 0.2, ~none, ttft <= 0.5, none, ttft, 0.5 - ttft))


def made(
    kind: Kind,
    rate: float,
    end_rate: float,
    *,
    good: float = 1.0,
    completed: float | None = None,
    growing: bool = False,
) -> Probe:
    """A probe of 200 requests with this share of good ones."""
    due = np.linspace(0.0, 20.0, 250, endpoint=False)
    none = np.zeros(250, dtype=np.bool_)
    fine = np.arange(250) % 100 < good * 100
    record = Record(due, due + 0.1, ~none, fine, none, np.full(250, 0.1), np.full(250, 0.4))
    probe = measure(kind, rate, end_rate, 20.0, record)
    return Probe(
        **{
            **{name: getattr(probe, name) for name in Probe.__struct_fields__},
            "completion_rate": rate if completed is None else completed,
            "growing": growing,
        }
    )
