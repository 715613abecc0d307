"""Faults at moments drawn from the seed: always the same ones, inside their time, never too many at once."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scenarios.definition import Blast, FaultSpec
from scenarios.faults.blast import busy_s, excess
from scenarios.faults.schedule import scheduled

RESET = FaultSpec("network.reset", 10.0, 2.0, times=3, by_s=60.0)
KILL = FaultSpec("engine.kill", 5.0, times=2, by_s=50.0)
SLOW = FaultSpec("network.latency", 20.0, 5.0)


def most_at_once(faults: tuple[FaultSpec, ...]) -> int:
    starts = [fault.at_s for fault in faults]
    return max((sum(f.at_s <= at < f.at_s + busy_s(f) for f in faults) for at in starts), default=0)


def test_the_same_seed_gives_the_same_moments_and_another_one_others() -> None:
    first = scheduled((RESET, SLOW), 7, Blast())
    assert first == scheduled((RESET, SLOW), 7, Blast())
    assert first != scheduled((RESET, SLOW), 8, Blast())


def test_every_fault_has_a_moment_of_its_own_in_order_of_start() -> None:
    faults = scheduled((RESET, SLOW, KILL), 1, Blast())
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert sorted(fault.kind for fault in faults) == sorted(["network.reset"] * 3 + ["engine.kill"] * 2 + [SLOW.kind])
    assert all((fault.times, fault.by_s) == (1, 0.0) for fault in faults)


def test_set_times_stay_to_the_bit_and_equal_ones_in_the_order_of_their_author() -> None:
    faults = (
        dataclasses.replace(SLOW, share=0.1),
        dataclasses.replace(SLOW, share=0.2),
        FaultSpec("host.cpu", 1.0, 2.0),
    )
    assert scheduled(faults, 3, Blast()) == (faults[2], faults[0], faults[1])


def test_a_change_of_one_fault_does_not_move_another_that_never_meets_it() -> None:
    late = dataclasses.replace(RESET, at_s=100.0, by_s=160.0)
    alone, together = (scheduled(faults, 5, Blast()) for faults in ((RESET,), (RESET, late)))
    assert together[:3] == alone


def test_the_moments_are_spread_over_the_whole_time() -> None:
    one = dataclasses.replace(RESET, times=1)
    found = [scheduled((one,), seed, Blast())[0].at_s for seed in range(400)]
    quarters = [sum(10.0 + 12.5 * k <= at < 22.5 + 12.5 * k for at in found) for k in range(4)]
    assert min(quarters) > 70
    assert max(quarters) < 130


@st.composite
def fault(draw: st.DrawFn) -> FaultSpec:
    at_s = draw(st.floats(0.0, 100.0))
    kind, for_s = draw(st.sampled_from([("engine.kill", 0.0), ("network.reset", 0.5), ("host.cpu", 6.0)]))
    if draw(st.booleans()):
        return FaultSpec(kind, at_s, for_s)
    width_s = draw(st.floats(0.5, 100.0))
    return FaultSpec(kind, at_s, for_s, times=draw(st.integers(1, 6)), by_s=at_s + width_s)


@given(st.lists(fault(), max_size=6), st.integers(1, 4), st.integers(0, 2**63 - 1))
@settings(max_examples=400, deadline=None)
def test_what_was_not_refused_can_always_be_drawn_and_keeps_to_the_blast_radius(
    faults: list[FaultSpec], at_once: int, seed: int
) -> None:
    blast = Blast(at_once=at_once)
    assume(not list(excess(faults, blast)))
    found = scheduled(faults, seed, blast)
    assert len(found) == sum(one.times for one in faults)
    assert most_at_once(found) <= at_once
    for one in found:
        assert any(one.kind == spec.kind and spec.at_s <= one.at_s <= max(spec.at_s, spec.by_s) for spec in faults)


def test_where_no_moment_is_left_it_says_so() -> None:
    with pytest.raises(ValueError, match=r"no moment is left for network\.reset between 20 s and 24 s"):
        scheduled((SLOW, dataclasses.replace(RESET, at_s=20.0, by_s=24.0)), 1, Blast(at_once=1))
