"""Chains: sessions and the users of a closed loop, each request after the one that must be over first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenarios import draws
from scenarios.definition import Think
from scenarios.timeline import LONGEST_PAUSE_NS, Timeline, pauses_ns, timeline

S = 10**9


def line_of(start_ns: list[int], turns: list[int], think_ns: list[int], users: int = 0) -> Timeline:
    return timeline(np.array(start_ns), np.array(turns), np.array(think_ns), users)


def test_lone_requests_follow_nobody() -> None:
    line = line_of([0, 5, 9], [1, 1, 1], [0, 0, 0])
    assert line.due_ns.tolist() == [0, 5, 9]
    assert line.after.tolist() == [-1, -1, -1]
    assert line.root.tolist() == line.start.tolist() == [0, 1, 2]


def test_a_session_is_a_chain_that_begins_with_its_start() -> None:
    line = line_of([0, 5], [3, 2], [0, 4, 2, 0, 3])
    assert line.due_ns.tolist() == [0, 4, 5, 6, 8]
    assert line.start.tolist() == [0, 0, 1, 0, 1]
    assert line.turn.tolist() == [0, 1, 0, 2, 1]
    assert line.after.tolist() == [-1, 0, -1, 1, 2]
    assert line.root.tolist() == [0, 0, 2, 0, 2]
    assert line.think_ns.tolist() == [0, 4, 0, 2, 3]


def test_a_user_of_a_closed_loop_starts_again_after_its_last_answer() -> None:
    line = line_of([0] * 5, [1] * 5, [0] * 5, users=2)
    assert line.due_ns.tolist() == [0] * 5
    assert line.after.tolist() == [-1, -1, 0, 1, 2]
    assert line.root.tolist() == [0, 1, 0, 1, 0]


def test_sessions_of_a_closed_loop_are_one_chain_for_each_user() -> None:
    line = line_of([0, 0, 0], [2, 1, 2], [0, 1, 0, 7, 1], users=2)
    chains = {int(root): line.start[line.root == root].tolist() for root in line.root}
    assert chains == {0: [0, 0, 2, 2], 1: [1]}
    assert line.due_ns[line.root == 0].tolist() == [0, 1, 8, 9]


@given(st.data(), st.integers(0, 4))
def test_whoever_waits_waits_for_an_earlier_request_of_the_same_chain(data: st.DataObject, users: int) -> None:
    starts = sorted(data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=12)))
    turns = [data.draw(st.integers(1, 4)) for _ in starts]
    think = [data.draw(st.integers(0, 9)) for _ in range(sum(turns))]
    line = line_of([0] * len(starts) if users else starts, turns, think, users)
    assert (np.diff(line.due_ns) >= 0).all()
    assert sorted(zip(line.start.tolist(), line.turn.tolist(), strict=True)) == [
        (start, turn) for start, count in enumerate(turns) for turn in range(count)
    ]
    for index in range(len(line.due_ns)):
        after = int(line.after[index])
        if after < 0:
            assert line.root[index] == index
            assert line.think_ns[index] == 0
        else:
            assert after < index
            assert line.root[index] == line.root[after]
            assert line.due_ns[index] == line.due_ns[after] + line.think_ns[index]
    followed = line.after[line.after >= 0].tolist()
    assert len(set(followed)) == len(followed)


def test_pauses_are_whole_microseconds_of_the_mean_and_variation_asked_for() -> None:
    found = pauses_ns(Think(2.0, 0.5), draws.stream(1, 0), 20_000)
    assert not (found % 1000).any()
    assert abs(found.mean() / S - 2.0) < 0.03
    assert abs(found.std() / S - 1.0) < 0.03
    assert pauses_ns(Think(2.0), draws.stream(1, 0), 2).tolist() == [2 * S, 2 * S]
    assert pauses_ns(Think(), draws.stream(1, 0), 2).tolist() == [0, 0]
    assert pauses_ns(Think(3600.0 * 100), draws.stream(1, 0), 1).tolist() == [LONGEST_PAUSE_NS]
