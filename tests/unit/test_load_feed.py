"""Dealing a plan to workers and handing it out: everything once, chains in order on one worker, little at a time."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.arrivals import Ints
from scenarios.load.feed import Feed, deal

FOREVER = 1 << 62


def arrays(dues: list[int], befores: list[int | None]) -> tuple[Ints, Ints]:
    """Due times in order, and the roots of requests of which each follows an earlier one or nobody."""
    root = list(range(len(dues)))
    for index, before in enumerate(befores):
        if before is not None and index:
            root[index] = root[before % index]
    return np.sort(np.array(dues, dtype=np.int64)), np.array(root, dtype=np.int64)


plans = st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 100)), max_size=60).map(
    lambda rows: arrays([due for due, _ in rows], [before for _, before in rows])
)


def drained(feed: Feed, until_ns: int = FOREVER, room: int = 1 << 20) -> list[int]:
    """All that it hands out while each is over at once."""
    out = []
    while (index := feed.next(until_ns, room)) is not None:
        out.append(index)
        feed.over(index)
    return out


@given(plans, st.integers(1, 5))
def test_every_request_is_handed_out_once_by_the_worker_of_its_chain(plan: tuple[Ints, Ints], workers: int) -> None:
    due_ns, root = plan
    dealt = [drained(feed) for feed in deal(due_ns, root, workers)]
    assert sorted(index for part in dealt for index in part) == list(range(len(root)))
    worker_of = {index: number for number, part in enumerate(dealt) for index in part}
    for index, number in worker_of.items():
        assert all(worker_of[other] == number for other in worker_of if root[other] == root[index])
    for part in dealt:
        for chain in {int(root[index]) for index in part}:
            members = [index for index in part if root[index] == chain]
            assert members == sorted(members)  # so the one before has always been handed out


@given(plans, st.integers(1, 3), st.integers(0, 60), st.integers(0, 8), st.integers(1, 100))
def test_what_was_not_handed_out_is_the_rest(
    plan: tuple[Ints, Ints], workers: int, until_ns: int, overs: int, room: int
) -> None:
    due_ns, root = plan
    out = []
    rest = []
    for feed in deal(due_ns, root, workers):
        mine = []
        while (index := feed.next(until_ns, room)) is not None:
            mine.append(index)
            assert due_ns[index] <= until_ns
            if len(mine) <= overs:
                feed.over(index)
        out += mine
        rest += list(feed.rest())
        assert feed.exhausted == (not list(feed.rest()))
    assert sorted(out + rest) == list(range(len(root)))


def test_chains_do_not_all_go_out_at_once_and_go_on_when_theirs_are_over() -> None:
    """Two users with a hundred requests each, all due at once, as in a closed loop."""
    root = np.array([index % 2 for index in range(200)], dtype=np.int64)
    (feed,) = deal(np.zeros(200, dtype=np.int64), root, 1)
    out = []
    while (index := feed.next(0, 10)) is not None:
        out.append(index)
    assert sorted(out) == list(range(10))  # half of the room for each
    feed.over(0)
    assert feed.next(0, 10) is not None
    feed.over(1)
    assert feed.next(0, 10) is not None
    assert feed.next(0, 10) is None


def test_a_chain_that_may_have_one_out_still_gets_on() -> None:
    root = np.zeros(5, dtype=np.int64)
    (feed,) = deal(np.zeros(5, dtype=np.int64), root, 1)
    assert drained(feed, room=1) == [0, 1, 2, 3, 4]


def test_the_next_of_a_chain_waits_for_its_own_due_time() -> None:
    (feed,) = deal(np.array([0, 100]), np.array([0, 0]), 1)
    assert drained(feed, until_ns=50) == [0]
    assert drained(feed, until_ns=100) == [1]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_single_requests_are_dealt_by_turns(workers: int) -> None:
    due_ns = np.arange(12, dtype=np.int64)
    for number, feed in enumerate(deal(due_ns, np.arange(12), workers)):
        assert drained(feed) == list(range(number, 12, workers))


@pytest.mark.parametrize("per_chain", [1, 10])
def test_a_million_requests_cost_a_few_megabytes(per_chain: int) -> None:
    count = 1_000_000
    due_ns = np.arange(count, dtype=np.int64)
    root = due_ns // per_chain * per_chain
    tracemalloc.start()
    try:
        feeds = deal(due_ns, root, 2)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000_000
    assert feeds[0].next(0, 100) == 0
