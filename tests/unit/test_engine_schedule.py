"""The scheduler as a state machine: whatever is submitted, cancelled, stepped or preempted, nobody is lost."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from engine.decode.schedule import Chosen, Chunk, Ended, Ending, Plan, Schedule, Sequence, admit, apply, plan


class Scheduling(RuleBasedStateMachine):
    """Runs the schedule against a model of the KV cache: what each slot holds."""

    ids: Bundle[int] = Bundle("ids")

    @initialize(slots=st.integers(1, 5), ctx=st.integers(4, 24), chunk=st.integers(1, 6), spare=st.integers(0, 8))
    def start(self, slots: int, ctx: int, chunk: int, spare: int) -> None:
        self.state = Schedule(slots=slots, ctx=ctx, chunk=chunk, budget=slots + chunk + spare)
        self.cache: dict[int, list[int]] = {slot: [] for slot in range(slots)}
        self.wanted: dict[int, Sequence] = {}
        self.prompts: dict[int, list[int]] = {}
        self.chosen: dict[int, list[int]] = {}
        self.ended: dict[int, Ending] = {}
        self.next_id = 1

    @rule(target=ids, size=st.integers(1, 23), max_new=st.integers(1, 30))
    def submit(self, size: int, max_new: int) -> int:
        id, self.next_id = self.next_id, self.next_id + 1
        prompt = [1000 * id + index for index in range(min(size, self.state.ctx - 1))]
        sequence = Sequence(id, list(prompt), max_new)
        self.state.submit(sequence)
        self.wanted[id], self.prompts[id], self.chosen[id] = sequence, prompt, []
        return id

    @rule(id=ids)
    def cancel(self, id: int) -> None:
        ended = self.state.end(id, Ending.CANCELLED)
        assert (ended is None) == (id in self.ended)
        if ended:
            self.leave(ended)

    @rule()
    def preempt(self) -> None:
        before = len(self.state.running)
        sequence = self.state.preempt()
        assert (sequence is not None) == (before >= 2)
        if sequence:
            self.cache[sequence.slot] = []
            assert self.state.waiting[0] is sequence

    @rule(data=st.data(), part=st.floats(0, 1))
    def step(self, data: st.DataObject, part: float) -> None:
        decided = plan(self.state)
        assert decided == plan(self.state), "planning changed the state"
        assert decided.token_count <= self.state.budget
        assert not (decided.empty and (self.state.running or self.state.waiting)), "work waits and nothing is planned"
        slots = [row.slot for row in decided.rows]
        assert len(slots) == len(set(slots))
        assert slots == sorted(slots)
        admit(self.state, decided)
        # Memory may run out midway: only a first part of the chunks is computed.
        chunks = decided.chunks[: round(part * len(decided.chunks))] if part < 0.2 else decided.chunks
        choices: dict[int, Chosen] = {}
        for row in decided.rows:
            assert self.cache[row.slot] == self.wanted[row.id].tokens[: row.position]
            self.cache[row.slot].append(row.token)
            choices[row.id] = self.choose(row.id, data)
        for chunk in chunks:
            assert chunk.start == len(self.cache[chunk.slot])
            assert chunk.start % self.state.chunk == 0
            self.cache[chunk.slot].extend(chunk.tokens)
            if chunk.last:
                assert self.cache[chunk.slot] == self.wanted[chunk.id].tokens
                choices[chunk.id] = self.choose(chunk.id, data)
        for ended in apply(self.state, Plan((), decided.rows, chunks), choices):
            assert ended.ending in (Ending.STOP, Ending.LENGTH)
            self.leave(ended)

    def choose(self, id: int, data: st.DataObject) -> Chosen:
        token = -1 - len(self.chosen[id])
        self.chosen[id].append(token)
        return Chosen(token, ends=data.draw(st.sampled_from([False, False, False, True])))

    def leave(self, ended: Ended) -> None:
        assert ended.id not in self.ended, "ended twice"
        self.ended[ended.id] = ended.ending
        if ended.slot >= 0:
            self.cache[ended.slot] = []

    @invariant()
    def every_request_is_in_exactly_one_place(self) -> None:
        waiting = [sequence.id for sequence in self.state.waiting]
        running = [sequence.id for sequence in self.state.running.values()]
        assert sorted([*waiting, *running, *self.ended]) == sorted(self.wanted)
        assert len(self.state.running) <= self.state.slots
        for slot, sequence in self.state.running.items():
            assert sequence.slot == slot
            assert self.cache[slot] == sequence.tokens[: sequence.computed]
        for slot in set(self.cache) - set(self.state.running):
            assert self.cache[slot] == []

    @invariant()
    def no_token_is_lost_and_no_bound_is_passed(self) -> None:
        for id, sequence in self.wanted.items():
            assert sequence.tokens == self.prompts[id] + self.chosen[id]
            assert len(sequence.tokens) <= self.state.ctx
            assert sequence.new == len(self.chosen[id]) <= sequence.max_new

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        for _ in range(10_000):
            decided = plan(self.state)
            if decided.empty:
                break
            admit(self.state, decided)
            choices = {part.id: Chosen(-99) for part in (*decided.rows, *decided.chunks)}
            apply(self.state, decided, choices)
        assert not self.state.running
        assert not self.state.waiting


Scheduling.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestScheduling = Scheduling.TestCase


def test_decoding_comes_before_prompts_and_prompts_are_cut_into_chunks() -> None:
    state = Schedule(slots=2, ctx=64, chunk=4, budget=7)
    state.submit(Sequence(1, list(range(3)), 9))
    first = plan(state)
    admit(state, first)
    apply(state, first, {1: Chosen(50)})
    state.submit(Sequence(2, list(range(10)), 9))
    second = plan(state)
    assert [row.id for row in second.rows] == [1]
    assert [(chunk.id, chunk.start, len(chunk.tokens), chunk.last) for chunk in second.chunks] == [(2, 0, 4, False)]


def test_the_lowest_free_slot_is_taken_so_that_running_slots_stay_neighbours() -> None:
    state = Schedule(slots=4, ctx=64, chunk=4, budget=16)
    for id in (1, 2, 3):
        state.submit(Sequence(id, [1], 9))
    decided = plan(state)
    admit(state, decided)
    apply(state, decided, {id: Chosen(5) for id in (1, 2, 3)})
    state.end(2, Ending.CANCELLED)
    state.submit(Sequence(4, [1], 9))
    assert plan(state).admit == ((4, 1),)


def test_an_id_that_left_while_the_step_ran_is_passed_over() -> None:
    state = Schedule(slots=1, ctx=64, chunk=4, budget=8)
    state.submit(Sequence(1, [1, 2], 9))
    decided = plan(state)
    admit(state, decided)
    assert state.end(1, Ending.CANCELLED) == Ended(1, 0, Ending.CANCELLED)
    assert apply(state, decided, {}) == []


def test_a_budget_too_small_for_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        Schedule(slots=4, ctx=64, chunk=8, budget=11)


def test_a_chunk_is_told_from_a_row() -> None:
    assert Chunk(1, 0, 0, (1, 2), last=True) == Chunk(1, 0, 0, (1, 2), last=True)
