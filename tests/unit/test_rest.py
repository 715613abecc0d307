"""What is left of a run that ended early: every request is over, lost or still to be sent, and only one of them."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenarios.observation import Outcome
from scenarios.request import PlannedRequest
from scenarios.runner.rest import Journalled, rest_of
from scenarios.summary.columns import NONE

S = 1_000_000_000


def journalled(*rows: tuple[int, int | None, int, int | None, bool]) -> Journalled:
    """(due, after, think, end, unsent) of each, times in ns."""
    due, after, think, end, unsent = zip(*rows, strict=True)
    return Journalled(
        np.arange(len(rows)),
        np.array(due),
        np.array([-1 if one is None else one for one in after]),
        np.array(think),
        np.array([NONE if one is None else one for one in end]),
        np.array(unsent),
    )


def plain(due_s: float, end_s: float | None = None, unsent: bool = False) -> tuple[int, None, int, int | None, bool]:
    return round(due_s * S), None, 0, None if end_s is None else round(end_s * S), unsent


def test_what_was_under_way_is_lost_and_what_came_due_later_is_left() -> None:
    rest = rest_of(journalled(plain(1, 1.5), plain(2), plain(3, 3.5), plain(4), plain(5)), until_ns=4 * S)
    assert [one.index for one in rest.lost] == [1, 3]
    assert {one.outcome for one in rest.lost} == {Outcome.CANCELLED}
    assert rest.numbers.tolist() == [4]
    assert rest.first_due_s == 5.0


def test_a_request_that_says_it_was_unsent_is_sent_though_it_was_due_before() -> None:
    rest = rest_of(journalled(plain(1, 1.5), plain(2, unsent=True), plain(9, unsent=True)), until_ns=3 * S)
    assert rest.lost == ()
    assert rest.numbers.tolist() == [1, 2]
    assert rest.due_ns.tolist() == [2 * S, 9 * S]


def test_a_next_turn_is_due_a_think_time_after_what_is_known_of_the_one_before() -> None:
    rest = rest_of(
        journalled(
            (1 * S, None, 0, 3 * S, False),
            (1 * S, 0, 4 * S, None, False),  # due at 7, after the end: left
            (1 * S, 1, 2 * S, None, False),  # follows one that is left
            (2 * S, None, 0, None, False),  # under way: lost at 5
            (2 * S, 3, 1 * S, None, False),  # so due at 6
            (2 * S, 0, 1 * S, None, False),  # due at 4, under way: lost
        ),
        until_ns=5 * S,
    )
    assert [one.index for one in rest.lost] == [3, 5]
    assert rest.numbers.tolist() == [4, 1, 2]
    assert rest.due_ns.tolist() == [6 * S, 7 * S, 7 * S]
    assert rest.after.tolist() == [-1, -1, 1]
    leg = rest.leg(lambda index: PlannedRequest(index=index, due_ns=0, path="/", body=b"", after=None))
    assert [request.after for request in leg.plan] == [None, None, 1]
    assert leg.plan.root.tolist() == [0, 1, 1]
    assert [leg.number(request.index) for request in leg.plan] == [4, 1, 2]


@st.composite
def plans(draw: st.DrawFn) -> Journalled:
    rows = []
    for index in range(draw(st.integers(1, 12))):
        after = draw(st.none() | st.integers(0, index - 1)) if index else None
        end = draw(st.none() | st.integers(0, 100))
        due = draw(st.integers(0, 100))
        rows.append((due, after, draw(st.integers(0, 9)), end, end is None and draw(st.booleans())))
    return journalled(*rows)


@given(plans(), st.integers(0, 100))
def test_each_request_is_over_or_lost_or_left_and_nobody_goes_before_the_one_it_follows(
    planned: Journalled, until_ns: int
) -> None:
    rest = rest_of(planned, until_ns)
    over = planned.index[planned.end_ns != NONE].tolist()
    lost = [one.index for one in rest.lost]
    assert sorted([*over, *lost, *rest.numbers.tolist()]) == planned.index.tolist()
    assert (np.diff(rest.due_ns) >= 0).all()
    assert (rest.after < np.arange(len(rest.after))).all()
    for place, follows in enumerate(rest.after.tolist()):
        leader = planned.after[rest.numbers[place]]
        assert (leader in rest.numbers) == (follows >= 0)
        assert follows < 0 or rest.numbers[follows] == leader
    assert all(msgspec.structs.asdict(one)["end_ns"] == until_ns for one in rest.lost)
