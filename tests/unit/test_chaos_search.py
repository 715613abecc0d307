"""The search for the smallest failing scenario: what is drawn, and what a failing try is shrunk to. No target."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.chaos.draw import CHECKS, Draws, values_of
from scenarios.chaos.feel import Feel
from scenarios.chaos.one_try import PLAIN, Try, in_words, undisturbed
from scenarios.chaos.shrink import NUDGE_S, ddmin, plainer, shrink
from scenarios.definition import Blast, Chaos, Clients, FaultSpec, Retrying
from scenarios.faults.kinds import KINDS

SEARCHED = tuple(kind for kind in KINDS.values() if kind.family != "host")
FEEL = Feel(0.1, 0.6)


def draws(seed: int = 1, chaos: Chaos | None = None, **of_blast: float) -> Draws:
    return Draws(seed, SEARCHED, chaos or Chaos(), Blast(**of_blast), FEEL)


def drawn(count: int, seed: int = 1, chaos: Chaos | None = None, **of_blast: float) -> list[Try]:
    source = draws(seed, chaos, **of_blast)
    found = [one for _ in range(count) if (one := source.next()) is not None]
    assert len(found) == count
    return found


def spec(kind: str, at_s: float = 0.34, for_s: float = 1.0) -> FaultSpec:
    known = KINDS[kind]
    params = tuple((param.name, param.default) for param in known.params)
    return FaultSpec(kind, at_s, 0.0 if known.instant else for_s, params=params)


def shrunk(failing: Try, fails: Callable[[Try], bool]) -> tuple[Try, list[Try]]:
    asked: list[Try] = []

    async def oracle(one: Try) -> bool:
        asked.append(one)
        return fails(one)

    return asyncio.run(shrink(failing, oracle)), asked


# ---- what is drawn


def test_every_kind_is_tried_alone_before_any_two_together() -> None:
    first = drawn(len(SEARCHED))
    assert {one.faults[0].kind for one in first} == {kind.name for kind in SEARCHED}
    assert all(len(one.faults) == 1 for one in first)


def test_the_most_telling_faults_come_first_and_at_their_moments() -> None:
    first, second, third = drawn(3)
    assert (first.faults[0].kind, dict(first.faults[0].params)["after"]) == ("network.reset", 0.0)
    assert first.at_s[0] < first.faults[0].at_s < first.at_s[0] + FEEL.ttft_s  # in prefill
    assert second.faults[0].kind == "clients.hang_up"
    assert third.faults[0].kind == "engine.kill"


def test_no_try_is_drawn_twice_and_the_seed_decides_them() -> None:
    tries = drawn(300, seed=7)
    assert len(set(tries)) == 300
    assert tries == drawn(300, seed=7)
    assert tries != drawn(300, seed=8)
    assert {len(one.faults) for one in tries} == {1, 2, 3}


@pytest.mark.parametrize("most_requests", [1, 2, 5, 20])
def test_every_try_keeps_its_limits_and_ends_with_requests_that_check(most_requests: int) -> None:
    chaos = Chaos(most_requests=most_requests, most_faults=2, settle_s=3.0)
    for one in drawn(200, chaos=chaos, share=0.5, length_s=0.75):
        assert 1 <= len(one.at_s) <= most_requests
        assert len(one.faults) <= 2
        assert list(one.at_s) == sorted(one.at_s)
        assert list(one.faults) == sorted(one.faults, key=lambda fault: fault.at_s)
        over_s = max(fault.at_s + fault.for_s for fault in one.faults)
        assert sum(at_s > over_s for at_s in one.at_s) >= min(CHECKS, most_requests)
        assert all(fault.share <= 0.5 and fault.for_s <= 0.75 and fault.at_s >= 0.0 for fault in one.faults)
        if any(fault.kind == "engine.kill" for fault in one.faults):
            assert one.at_s[-1] - over_s >= 3.0
        assert all(fault.at_s < one.arrivals.duration_s for fault in one.faults)


def test_kinds_under_which_the_target_did_worse_are_drawn_more_often() -> None:
    def often(source: Draws) -> int:
        tries = [one for _ in range(400) if (one := source.next())]
        return sum(fault.kind == "stream.stall" for one in tries for fault in one.faults)

    taught = draws()
    for _ in range(5):
        taught.learn(Try((0.0,), (spec("stream.stall"),)))
    assert often(taught) > 2 * often(draws())


def test_a_kind_that_cannot_be_brought_about_is_given_up_the_second_time() -> None:
    source = draws()
    assert not source.refuse("stream.stall")
    assert source.refuse("stream.stall")
    tries = [one for _ in range(200) if (one := source.next())]
    assert not any(fault.kind == "stream.stall" for one in tries for fault in one.faults)


def test_without_a_kind_only_the_workload_is_varied_until_nothing_is_new() -> None:
    source = Draws(1, (), Chaos(most_requests=3), Blast(), FEEL)
    tries = []
    while (one := source.next()) is not None:
        tries.append(one)
    assert tries
    assert not any(one.faults for one in tries)


def test_every_value_that_is_tried_is_within_the_bounds_of_its_parameter() -> None:
    for kind in KINDS.values():
        for param in kind.params:
            values = values_of(param)
            assert values[0] == param.default
            assert all(isinstance(v, str) or param.low <= v <= max(param.high, param.low) for v in values), kind.name


def test_a_try_without_faults_asks_all_that_will_ever_be_asked() -> None:
    assert len(undisturbed(Chaos(most_requests=12)).at_s) == 12


def test_a_try_in_words_names_faults_and_requests() -> None:
    fault = dataclasses.replace(spec("network.reset"), params=(("after", 200.0),), hits=1)
    assert in_words(Try((0.3, 3.0), (fault,))) == ("network.reset (after 200, hits 1) at 0.34 s for 1 s, 2 requests")
    assert in_words(Try((0.3,))) == "no fault, 1 request"


# ---- what a failing try is shrunk to


@given(st.integers(0, 40), st.sets(st.integers(0, 39), max_size=6))
@settings(max_examples=200, deadline=None)
def test_of_what_delta_debugging_leaves_nothing_can_be_left_out(count: int, needed: set[int]) -> None:
    needed = {item for item in needed if item < count}

    async def fails(items: tuple[int, ...]) -> bool:
        return needed <= set(items)

    assert set(asyncio.run(ddmin(tuple(range(count)), fails))) == needed


FAULTS = st.sampled_from([kind.name for kind in SEARCHED]).flatmap(
    lambda name: st.builds(
        spec, st.just(name), st.floats(0, 5).map(lambda t: round(t, 3)), st.sampled_from((0.3, 1.0, 2.0))
    )
)
TRIES = st.builds(
    lambda at_s, faults, clients: Try(tuple(sorted(at_s)), tuple(faults), clients),
    st.lists(st.floats(0, 9).map(lambda t: round(t, 3)), min_size=1, max_size=20),
    st.lists(FAULTS, max_size=4),
    st.sampled_from((PLAIN, Clients(retry=Retrying(1.0, 3, 0.2)))),
)


@given(TRIES, st.data())
@settings(max_examples=100, deadline=None)
def test_a_failure_that_needs_some_faults_and_so_many_requests_keeps_just_these(
    failing: Try, data: st.DataObject
) -> None:
    kinds = {fault.kind for fault in failing.faults}
    needed = data.draw(st.sets(st.sampled_from(sorted(kinds)), max_size=2)) if kinds else set()
    requests = data.draw(st.integers(1, len(failing.at_s)))

    def fails(one: Try) -> bool:
        return needed <= {fault.kind for fault in one.faults} and len(one.at_s) >= requests

    smallest, asked = shrunk(failing, fails)
    assert sorted(fault.kind for fault in smallest.faults) == sorted(needed)
    assert len(smallest.at_s) == requests
    assert smallest.clients == PLAIN
    assert len(asked) == len(set(asked))
    assert not any(fails(one) for one in plainer(smallest))


def test_parameters_and_times_become_plain_where_the_failure_allows_it() -> None:
    fault = FaultSpec("network.reset", 0.3417, 2.0, hits=1, params=(("after", 200.0),))
    smallest, _ = shrunk(Try((0.3004, 4.019), (fault,)), lambda one: len(one.faults) == 1 and one.faults[0].at_s > 0.32)
    assert smallest == Try((0.3,), (FaultSpec("network.reset", 0.34, 0.5, params=(("after", 0.0),)),))


@given(st.floats(0.31, 0.6).map(lambda t: round(t, 3)), st.floats(0.3, 0.6))
@settings(max_examples=100, deadline=None)
def test_no_time_is_made_plain_that_then_lies_on_the_edge_of_what_fails(at_s: float, edge_s: float) -> None:
    def fails(one: Try) -> bool:
        return len(one.faults) == 1 and len(one.at_s) == 2 and one.faults[0].at_s >= edge_s

    failing = Try((0.3, 6.613), (spec("engine.kill", at_s),))
    if fails(failing):
        smallest, _ = shrunk(failing, fails)
        found_s = smallest.faults[0].at_s
        assert found_s == at_s or found_s > at_s or found_s - NUDGE_S >= edge_s
        assert fails(smallest)


def test_a_failure_that_needs_no_fault_is_shrunk_to_none() -> None:
    smallest, _ = shrunk(Try((0.3, 1.0), (spec("engine.kill"), spec("network.reset"))), lambda one: True)
    assert smallest == Try((0.3,))


def test_an_oracle_that_ran_out_of_time_leaves_what_was_found_so_far() -> None:
    left = 3

    def fails(one: Try) -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    smallest, _ = shrunk(Try((0.3, 1.0), (spec("engine.kill"),)), fails)
    assert smallest.faults == ()
