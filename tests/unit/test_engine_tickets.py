"""Admission: the total bound, each key's share, and places that are kept until the decode process has let go."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.api.admission import Load, Verdict, decide
from engine.api.asks import OPEN_LIMIT, Asks
from engine.api.tickets import ACTIVE_S, Arrival, RecentKeys, Ticket, Tickets
from engine.errors import Overloaded, Unavailable
from engine.wire import Admitted, Output, Tokens, Vector

S = 1_000_000_000


def end(ticket: Ticket, finish: str = "stop") -> Output:
    return Output(ticket.id, "", 1, finish=finish)


async def test_tickets_are_never_issued_beyond_the_bound_and_say_when_to_come_back() -> None:
    tickets = Tickets(slots=2, queue_limit=1)
    issued = [tickets.issue(0) for _ in range(3)]
    with pytest.raises(Overloaded, match="1 requests wait") as caught:
        tickets.issue(0)
    assert (caught.value.status, caught.value.retry_after_s, caught.value.code) == (429, 1, "queue_full")
    tickets.deliver(S, end(issued[0]))
    assert tickets.issue(S).id == 4


async def test_an_answer_that_its_client_is_slow_to_read_takes_nobodys_place() -> None:
    tickets = Tickets(slots=1, queue_limit=0)
    finished = tickets.issue(0)
    tickets.deliver(5, end(finished))
    assert (tickets.running, len(tickets)) == (0, 1)
    assert finished.take() == [Arrival(5, end(finished))]
    tickets.issue(0)
    with pytest.raises(Overloaded):
        tickets.issue(0)


async def test_a_request_that_its_client_gave_up_keeps_its_place_until_the_decode_process_has_let_it_go() -> None:
    tickets = Tickets(slots=1, queue_limit=0)
    left = tickets.issue(0)
    assert tickets.close(left)
    assert not tickets.close(left)
    assert len(tickets) == 0
    with pytest.raises(Overloaded):
        tickets.issue(0)
    tickets.deliver(1, Output(left.id, "late text", 1))
    assert tickets.leaving
    assert tickets.admit(Admitted(left.id, 2, 10)) is None
    assert tickets.running == 1
    tickets.deliver(3, end(left, "cancelled"))
    assert not tickets.leaving
    tickets.issue(4)


async def test_when_the_decode_process_is_gone_so_is_every_place_in_it() -> None:
    tickets = Tickets(slots=1, queue_limit=1)
    left, here = tickets.issue(0), tickets.issue(0)
    tickets.close(left)
    tickets.fail_all("it died")
    assert [arrival.output.finish for arrival in here.take()] == ["unavailable"]
    assert not tickets.leaving
    assert not tickets.close(here)
    await tickets.drained()


async def test_a_request_that_gets_a_slot_twice_has_waited_once() -> None:
    tickets = Tickets(slots=1, queue_limit=1)
    ticket = tickets.issue(0)
    assert tickets.admit(Admitted(ticket.id, 7, 40, 30)) is ticket
    assert tickets.admit(Admitted(ticket.id, 9, 40, 0)) is None
    assert (ticket.admitted_ns, ticket.prompt_tokens, ticket.cached_tokens) == (7, 40, 30)


async def test_who_is_about_to_get_a_free_slot_does_not_wait() -> None:
    tickets = Tickets(slots=2, queue_limit=4)
    issued = [tickets.issue(0) for _ in range(5)]
    assert (tickets.running, tickets.waiting) == (0, 3)
    tickets.admit(Admitted(issued[0].id, 1, 1))
    assert (tickets.running, tickets.waiting) == (1, 3)


async def test_retry_after_grows_with_the_queue_shrinks_with_the_rate_and_knows_that_keys_share_it() -> None:
    tickets = Tickets(slots=1, queue_limit=50)
    for second in range(10):
        tickets.deliver((10 + second) * S, end(tickets.issue(0)))
    assert tickets.retry_after_s(20 * S, 41, 1) == 22  # (1 + 41 / 2) places at one a second
    assert tickets.retry_after_s(20 * S, 10, 4) == 24  # (1 + 10 / 2) places, and one in four is this key's
    assert tickets.retry_after_s(1_000_000 * S, 41, 1) == 1  # nothing is known of the rate now
    assert tickets.retry_after_s(20 * S, 10_000, 1) == 60


async def test_one_key_alone_has_the_whole_queue_and_beside_another_its_share() -> None:
    tickets = Tickets(slots=2, queue_limit=6)
    for _ in range(8):
        tickets.issue(0, "a")
    with pytest.raises(Overloaded) as full:
        tickets.issue(0, "b")
    assert full.value.code == "queue_full"
    for id in range(1, 4):
        tickets.deliver(S, Output(id, "", 1, finish="stop"))
    # Three places are free. b was refused a moment ago, so it counts, and a has its share of three in the queue.
    with pytest.raises(Overloaded, match="3 requests of this key wait, which is its share of the queue among 2 keys"):
        tickets.issue(S, "a")
    assert [tickets.issue(S, "b").key for _ in range(3)] == ["b"] * 3


async def test_a_key_is_forgotten_some_seconds_after_its_last_request() -> None:
    recent = RecentKeys()
    assert recent.note("a", 0) == {"a"}
    assert recent.note("b", 4 * S) == {"a", "b"}
    assert recent.note("a", 5 * S) == {"a", "b"}
    assert recent.note("c", int((4.1 + ACTIVE_S) * S)) == {"a", "c"}


keys = st.sampled_from("abc")


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 12), st.integers(0, 4), st.lists(keys, max_size=16), st.sets(keys), keys)
def test_a_decision_never_passes_the_bound_and_never_leaves_a_slot_empty(
    slots: int, queue_limit: int, running: int, pending: list[str], active: set[str], key: str
) -> None:
    running = min(running, slots)
    load = Load(slots, queue_limit, running, pending, active)
    verdict, total = decide(load, key), running + len(pending)
    if total < slots:
        assert verdict is Verdict.ADMIT
    if total >= slots + queue_limit:
        assert verdict is Verdict.FULL
    if verdict is Verdict.OVER_SHARE:
        assert load.waiting.count(key) >= max(1, queue_limit // load.keys_with(key))
        assert len({*active, *pending, key}) > 1


class Admission(RuleBasedStateMachine):
    """Three keys that are all active; slots are given in the order of coming. Who leaves is let go of later."""

    SLOTS, QUEUE = 2, 7

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[str] = []
        self.running: list[str] = []

    def _load(self) -> Load:
        return Load(self.SLOTS, self.QUEUE, len(self.running), tuple(self.pending), frozenset("abc"))

    @rule(key=keys, count=st.integers(1, 12))
    def ask(self, key: str, count: int) -> None:
        for _ in range(count):
            load = self._load()
            verdict = decide(load, key)
            if verdict is Verdict.ADMIT:
                self.pending.append(key)
            else:
                assert load.waiting.count(key) >= self.QUEUE // 3, "a key below its share was refused"

    @precondition(lambda self: self.pending and len(self.running) < self.SLOTS)
    @rule()
    def give_a_slot(self) -> None:
        self.running.append(self.pending.pop(0))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1))
    def finish(self, which: int) -> None:
        self.running.pop(which % len(self.running))

    @precondition(lambda self: self.pending)
    @rule(which=st.integers(0, 8))
    def let_go_of_one_that_left(self, which: int) -> None:
        self.pending.pop(which % len(self.pending))

    @invariant()
    def the_bound_holds(self) -> None:
        assert len(self.running) + len(self.pending) <= self.SLOTS + self.QUEUE


TestAdmission = Admission.TestCase
TestAdmission.settings = settings(deadline=None, max_examples=100)


async def test_questions_have_a_bound_of_their_own_and_keys_share_it() -> None:
    asks = Asks(RecentKeys())
    for id in range(OPEN_LIMIT):
        asks.check(0, "a")
        asks.open(id, "a")
    with pytest.raises(Overloaded) as caught:
        asks.check(0, "b")
    assert caught.value.retry_after_s == 1
    asks.answered(Tokens(0, [], []))
    with pytest.raises(Overloaded, match="of this key"):
        asks.check(0, "a")
    asks.check(0, "b")


async def test_a_question_whose_asker_left_keeps_its_place_until_it_is_answered() -> None:
    asks = Asks(RecentKeys())
    left, cancelled = asks.open(1, ""), asks.open(2, "")
    left.cancel()
    cancelled.cancel()
    assert len(asks) == 2
    asks.answered(Vector(1, b"", 3))
    asks.ended(2)
    assert len(asks) == 0
    asks.answered(Vector(1, b"", 3))  # nobody asked; nothing happens


async def test_every_question_fails_when_no_answer_can_come() -> None:
    asks = Asks(RecentKeys())
    waiting, left = asks.open(1, ""), asks.open(2, "")
    left.cancel()
    asks.fail_all("it died")
    with pytest.raises(Unavailable, match="it died"):
        await waiting
    await asks.drained()
