"""What the faults of the network make of bytes and times, stage by stage; no socket and no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.faults.injector import Order
from scenarios.faults.proxy.fault import Fault, Held
from scenarios.faults.proxy.stages import (
    GONE,
    NEVER_NS,
    RST,
    SHUT,
    Answered,
    Bandwidth,
    Corrupt,
    Cut,
    Hold,
    Latency,
    Slice,
    SlowStart,
    Stage,
    Timed,
)
from scenarios.faults.proxy.transform import Piece

MS = 1_000_000


def fault(hits: int = 0, share: float = 1.0, seed: int = 0, kind: str = "network.latency") -> Fault:
    return Fault(Order(number=1, kind=kind, for_s=1.0, hits=hits, share=share, seed=seed), 7, lambda: None)


def held() -> Held:
    return Held(fault())


def run(stage: Stage, pieces: list[Timed]) -> list[Timed]:
    """What comes out, each piece taken out when it is due."""
    given_: list[Timed] = []
    for piece in pieces:
        while stage.due_ns < piece.at_ns:
            given_ += stage.give(stage.due_ns)
        stage.take(piece)
    while stage.due_ns < NEVER_NS:
        given_ += stage.give(stage.due_ns)
    assert stage.waiting == 0
    return given_


arrivals = st.lists(st.tuples(st.integers(0, 50 * MS), st.binary(max_size=40)), max_size=12).map(
    lambda gaps: [Timed(sum(gap for gap, _ in gaps[: at + 1]), data) for at, (_, data) in enumerate(gaps)]
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Latency(held(), 0.02, 0.02, random.Random(1)),
        lambda: SlowStart(held(), 0.02, begun=False),
        lambda: Slice(held(), 3, 0.002),
        lambda: Slice(held(), 1, 0.0),
        lambda: Bandwidth(held(), 2000.0),
        lambda: Bandwidth(held(), 3.0),
        lambda: Bandwidth(held(), 1e9),
        lambda: Cut(held(), 1 << 30, RST, None, 0),
    ],
)
@given(pieces=arrivals)
def test_content_and_order_stay_and_nothing_comes_before_its_time(make: object, pieces: list[Timed]) -> None:
    stage: Stage = make()  # type: ignore[operator]
    ending = Timed(pieces[-1].at_ns if pieces else 0, b"", "fin")
    out = run(stage, [*pieces, ending])
    assert b"".join(one.data for one in out) == b"".join(one.data for one in pieces)
    assert [one.close for one in out if one.close] == ["fin"]
    assert out[-1].close == "fin"
    times = [one.at_ns for one in out]
    assert times == sorted(times)
    for upto in range(1, len(pieces) + 1):
        came = b"".join(one.data for one in pieces[:upto])
        reached = 0
        for one in out:
            reached += len(one.data)
            if reached >= len(came) and came:
                assert one.at_ns >= max(piece.at_ns for piece in pieces[:upto] if piece.data)
                break


@given(pieces=arrivals, cut=st.integers(0, 12))
def test_what_a_stage_holds_when_its_fault_ends_goes_on_at_once_and_in_order(pieces: list[Timed], cut: int) -> None:
    for stage in (
        Latency(held(), 5.0, 1.0, random.Random(1)),
        Slice(held(), 2, 1.0),
        Bandwidth(held(), 1.0),
        Hold(held()),
    ):
        out: list[Timed] = []
        for piece in pieces[:cut]:
            stage.take(piece)
            out += stage.give(piece.at_ns)
        out += stage.flush(10**12)
        assert b"".join(one.data for one in out) == b"".join(one.data for one in pieces[:cut])
        assert (stage.waiting, stage.due_ns) == (0, NEVER_NS)


def test_latency_is_the_delay_give_or_take_the_jitter() -> None:
    assert [
        one.at_ns for one in run(Latency(held(), 0.2, 0.0, random.Random(1)), [Timed(5, b"a"), Timed(9, b"b")])
    ] == [
        200 * MS + 5,
        200 * MS + 9,
    ]
    spread = run(Latency(held(), 0.2, 0.1, random.Random(1)), [Timed(at * 1000 * MS, b"a") for at in range(200)])
    late = [one.at_ns % (1000 * MS) for one in spread]
    assert min(late) >= 100 * MS
    assert max(late) <= 300 * MS
    assert max(late) - min(late) > 150 * MS


@pytest.mark.parametrize("rate", [1.0, 50.0, 2000.0, 1e6])
def test_a_line_of_a_rate_takes_as_long_as_its_bytes_need(rate: float) -> None:
    out = run(Bandwidth(held(), rate), [Timed(0, b"x" * 300), Timed(0, b"y" * 200)])
    assert out[-1].at_ns == pytest.approx(500 / rate * 1e9, abs=50)
    if rate <= 2000:
        assert max(len(one.data) for one in out) <= max(1, rate / 100)


def test_a_line_that_was_idle_does_not_make_up_for_it() -> None:
    out = run(Bandwidth(held(), 1000.0), [Timed(0, b"x" * 10), Timed(10**9, b"y" * 10)])
    assert out[-1].at_ns == 10**9 + 10 * MS


def test_slices_have_their_size_and_their_pause() -> None:
    out = run(Slice(held(), 3, 0.002), [Timed(0, b"abcdefg")])
    assert out == [Timed(0, b"abc"), Timed(2 * MS, b"def"), Timed(4 * MS, b"g")]


def test_only_the_first_byte_of_each_answer_is_held_by_a_slow_start() -> None:
    stage = SlowStart(held(), 1.0, begun=True)
    assert run(stage, [Timed(1, b"of the answer before")])[0].at_ns == 1
    stage.asked(2)
    assert [one.at_ns for one in run(stage, [Timed(10, b"a"), Timed(20, b"b")])] == [10**9 + 10] * 2
    assert run(stage, [Timed(3 * 10**9, b"c")])[0].at_ns == 3 * 10**9


@given(pieces=arrivals)
def test_corruption_changes_bytes_and_never_their_number(pieces: list[Timed]) -> None:
    out = run(Corrupt(held(), 1, random.Random(3)), pieces)
    before, after = (b"".join(one.data for one in some) for some in (pieces, out))
    assert len(before) == len(after)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_about_one_byte_of_so_many_is_corrupted_however_they_come() -> None:
    data = bytes(100_000)
    for size in (1, 7, 4096):
        own = fault()
        stage = Corrupt(Held(own), 200, random.Random(3))
        out = b"".join(
            one.data for one in run(stage, [Timed(at, data[at : at + size]) for at in range(0, len(data), size)])
        )
        changed = len(out) - out.count(0)
        assert 400 < changed < 600
        assert own.facts == {"connections": 1.0, "bytes": float(changed)}


def test_a_cut_comes_after_exactly_so_many_bytes_of_an_answer_however_they_come() -> None:
    for size in (1, 3, 100):
        stage = Cut(held(), 10, SHUT, None, 0)
        stage.asked(0)
        out = run(stage, [Timed(at, b"0123456789abcdef"[at : at + size]) for at in range(0, 16, size)])
        assert b"".join(one.data for one in out) == b"0123456789"
        assert [one.close for one in out if one.close] == [SHUT]


def test_an_answer_shorter_than_the_cut_is_left_alone_and_the_next_is_counted_anew() -> None:
    stage = Cut(held(), 10, RST, None, 0)
    for at in range(3):
        stage.asked(at)
        assert [(one.data, one.close) for one in run(stage, [Timed(at, b"short")])] == [(b"short", "")]


def test_a_cut_after_nothing_strikes_while_the_request_is_with_the_server() -> None:
    stage = Cut(held(), 0, RST, None, 0)
    assert stage.due_ns == NEVER_NS
    stage.asked(100 * MS)
    assert 100 * MS < stage.due_ns <= 200 * MS
    assert [one.close for one in stage.give(stage.due_ns)] == [RST]


def test_a_cut_after_nothing_lets_no_byte_of_a_fast_answer_through() -> None:
    stage = Cut(held(), 0, RST, None, 0)
    stage.asked(0)
    assert run(stage, [Timed(1, b"fast")]) == [Timed(1, b"", RST)]


@pytest.mark.parametrize(("through", "struck"), [(None, False), (0, True), (5, True)])
def test_a_cut_after_nothing_takes_connections_that_are_busy_already(through: int | None, struck: bool) -> None:
    stage = Cut(held(), 0, GONE, through, asked_ns=0)
    assert (stage.due_ns < NEVER_NS) is struck


def test_no_more_are_hit_than_a_fault_may_and_it_is_over_with_the_last_of_them() -> None:
    over: list[bool] = []
    own = Fault(Order(number=1, kind="network.latency", for_s=1.0, hits=2), 7, lambda: over.append(True))
    first, second, third = (Held(own) for _ in range(3))
    assert [one.hit(10) for one in (first, second, third, first)] == [True, True, False, True]
    assert own.facts == {"connections": 2.0, "bytes": 30.0}
    third.let_go()
    first.let_go()
    assert not over
    second.let_go()
    assert over == [True]


def test_a_stage_whose_fault_may_hit_no_more_passes_everything_on() -> None:
    own = fault(hits=1)
    Held(own).hit(1)
    assert run(Latency(Held(own), 5.0, 0.0, random.Random(1)), [Timed(1, b"a")]) == [Timed(1, b"a")]


def test_the_share_is_drawn_from_the_seed_for_each_connection() -> None:
    drawn = [fault(share=0.3, seed=5).takes(number) for number in range(2000)]
    assert drawn == [fault(share=0.3, seed=5).takes(number) for number in range(2000)]
    assert drawn != [fault(share=0.3, seed=6).takes(number) for number in range(2000)]
    assert 0.25 < sum(drawn) / len(drawn) < 0.35
    assert all(fault(share=1.0).takes(number) for number in range(10))


class Twice:
    """Says everything twice, the second time a second later, and goodbye at the end."""

    def instead(self, request_head: bytes) -> list[Piece] | None:
        return None

    def feed(self, data: bytes) -> list[Piece]:
        return [Piece(0.0, data), Piece(1.0, data)]

    def end(self) -> list[Piece]:
        return [Piece(0.5, b"bye", "fin")]

    def relent(self) -> list[Piece]:
        return [Piece(1.0, b"held")]


def test_a_transform_waits_between_its_pieces_and_ends_with_the_answer() -> None:
    stage = Answered(held(), Twice())
    out = run(stage, [Timed(0, b"a"), Timed(5, b"b", "end"), Timed(6, b"next answer")])
    assert [(one.at_ns, one.data, one.close) for one in out] == [
        (0, b"a", ""),
        (10**9, b"a", ""),
        (10**9, b"b", ""),
        (2 * 10**9, b"b", ""),
        (2_500_000_000, b"bye", SHUT),
        (2_500_000_000, b"", "end"),
        (6, b"next answer", ""),
    ]
    assert stage.spent


def test_a_transform_whose_fault_is_over_goes_on_without_its_pauses() -> None:
    stage = Answered(held(), Twice())
    stage.take(Timed(0, b"a"))
    stage.hurry(10)
    stage.take(Timed(20, b"b"))
    assert [(one.at_ns, one.data) for one in stage.give(20)] == [(10, b"aa"), (10, b"held"), (20, b"b"), (20, b"b")]


def test_an_end_that_waits_when_the_fault_is_over_stays_behind_what_comes_before_it() -> None:
    stage = Answered(held(), Twice())
    stage.take(Timed(0, b"a", "end"))
    stage.hurry(10)
    assert [(one.data, one.close) for one in stage.give(10)] == [(b"aabye", SHUT), (b"", "end")]
