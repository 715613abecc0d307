"""The scheduler as a state machine: whatever is submitted, cancelled, stepped or preempted, nobody is lost, and no
sequence ever reads what another root or a later token has put into its stream."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from engine.decode.images import ImageSpan, is_image, pseudo_tokens, span_at
from engine.decode.outcome import admit, apply
from engine.decode.planning import plan
from engine.decode.schedule import Chosen, Chunk, Ended, Ending, Plan, Schedule, Sequence

FEW = st.integers(1, 3)
IMAGES = st.tuples(st.sampled_from([b"cat", b"dog"]), st.integers(1, 7), st.booleans())
"""An image: its digest, its positions, and whether it is computed as a whole."""


def prompt_of(parts: list[int | tuple[bytes, int, bool]], most: int) -> tuple[list[int], tuple[ImageSpan, ...]]:
    """Tokens and images of a prompt of at most `most` positions; what does not fit is left out."""
    tokens: list[int] = []
    images: list[ImageSpan] = []
    for part in parts:
        if isinstance(part, int):
            tokens.append(part)
        elif len(tokens) + part[1] <= most:
            digest, count, whole = part
            images.append(ImageSpan(len(tokens), len(tokens) + count, whole))
            tokens += pseudo_tokens(digest + bytes([count, whole]), count)
    return tokens[:most], tuple(span for span in images if span.end <= most)


class Scheduling(RuleBasedStateMachine):
    """Runs the schedule against a model of the KV cache: what each slot's stream holds."""

    ids: Bundle[int] = Bundle("ids")

    @initialize(
        slots=st.integers(1, 5),
        ctx=st.integers(4, 24),
        chunk=st.integers(1, 6),
        budget=st.integers(1, 12),
        aligned=st.booleans(),
        sharing=st.booleans(),
        worth=st.integers(1, 4),
    )
    def start(self, slots: int, ctx: int, chunk: int, budget: int, aligned: bool, sharing: bool, worth: int) -> None:
        self.state = Schedule(
            slots=slots, ctx=ctx, chunk=chunk, budget=budget, aligned=aligned, sharing=sharing, worth=worth
        )
        self.cache: dict[int, list[int]] = {slot: [] for slot in range(slots)}
        self.roots: dict[int, str] = {}
        self.wanted: dict[int, Sequence] = {}
        self.prompts: dict[int, list[int]] = {}
        self.chosen: dict[int, list[int]] = {}
        self.ended: dict[int, Ending] = {}
        self.now_s = 0.0

    @rule(
        target=ids,
        parts=st.lists(FEW | IMAGES, min_size=1, max_size=23),
        max_new=st.integers(1, 30),
        key=st.sampled_from("abc"),
        priority=st.integers(0, 2),
        root=st.sampled_from(["", "lora"]),
    )
    def submit(
        self, parts: list[int | tuple[bytes, int, bool]], max_new: int, key: str, priority: int, root: str
    ) -> int:
        id = len(self.wanted) + 1
        prompt, images = prompt_of([1, *parts], self.state.ctx - 1)
        sequence = Sequence(id, list(prompt), max_new, key=key, priority=priority, root=root, images=images)
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
    def run_out_of_memory(self) -> None:
        before = len(self.state.running)
        sequence = self.state.preempt()
        assert (sequence is not None) == (before >= 2)
        if sequence:
            self.cache[sequence.slot] = []
            assert self.state.waiting[0] is sequence

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(data=st.data(), part=st.floats(0, 1))
    def step(self, data: st.DataObject, part: float) -> None:
        state = self.state
        state.turns.tick(self.now_s)
        before = repr(state)
        decided = plan(state)
        assert decided == plan(state), "planning changed the state"
        assert repr(state) == before
        idle = decided.empty and decided.preempt is None
        assert not (idle and (state.running or state.waiting)), f"work waits and nothing is planned: {state!r}"
        spent = sum(len(chunk.tokens) for chunk in decided.chunks)
        whole = 7 if any(is_image(chunk.tokens[0]) for chunk in decided.chunks) else 0
        assert spent <= state.budget + max(whole, state.chunk - 1 if state.aligned else 0)
        slots = [row.slot for row in decided.rows]
        assert slots == sorted(set(slots))
        if decided.preempt is not None:
            urgent = min(seq.priority for seq in state.waiting)
            victim = state.running[decided.preempt]
            assert victim.priority > urgent
            state.preempt(decided.preempt)
            least, decided = self.wanted[victim.id], plan(state)
            taken = {given.id for given in decided.admit}
            assert any(self.wanted[id].priority < least.priority for id in taken), "nobody more urgent got the slot"
        self.take_slots(decided)
        # Memory may run out midway: only a first part of the chunks is computed.
        chunks = decided.chunks[: round(part * len(decided.chunks))] if part < 0.2 else decided.chunks
        choices: dict[int, Chosen] = {}
        for row in decided.rows:
            assert self.cache[row.slot] == self.wanted[row.id].tokens[: row.position]
            self.cache[row.slot].append(row.token)
            choices[row.id] = self.choose(row.id, data)
        for chunk in chunks:
            assert chunk.start == len(self.cache[chunk.slot])
            self.images_are_left_whole(chunk)
            self.cache[chunk.slot].extend(chunk.tokens)
            if chunk.last:
                assert self.cache[chunk.slot] == self.wanted[chunk.id].tokens
                choices[chunk.id] = self.choose(chunk.id, data)
        for ended in apply(state, Plan((), decided.rows, chunks), choices):
            assert ended.ending in (Ending.STOP, Ending.LENGTH)
            self.leave(ended)

    def images_are_left_whole(self, chunk: Chunk) -> None:
        """A chunk is all text or of one image, uncut where that is wanted, and at the same place whatever else runs."""
        sequence, end = self.wanted[chunk.id], chunk.start + len(chunk.tokens)
        borders = {border for span in sequence.images for border in (span.start, span.end)}
        assert not any(chunk.start < border < end for border in borders)
        if is_image(chunk.tokens[0]):
            _index, span = span_at(sequence.images, chunk.start)
            assert end <= span.end
            assert not span.whole or (chunk.start, end) == (span.start, span.end)
        if self.state.aligned:
            assert chunk.start % self.state.chunk == 0 or chunk.start in borders
            assert end % self.state.chunk == 0 or end in borders or chunk.last
        assert len(chunk.tokens) <= self.state.chunk or is_image(chunk.tokens[0])

    def take_slots(self, decided: Plan) -> None:
        """Carry out the admissions in order, as the engine does on KV streams."""
        admitted = admit(self.state, decided)
        for given, sequence in zip(decided.admit, admitted, strict=True):
            assert given.id == sequence.id
            assert given.reused < len(sequence.tokens), "the last token's logits are wanted"
            assert given.reused == 0 or self.state.sharing
            assert not any(span.start < given.reused < span.end for span in sequence.images), "an image was cut"
            if given.reused:
                assert self.roots[given.source] == sequence.root, "shared across roots"
            self.cache[given.slot] = self.cache[given.source][: given.reused]
            self.roots[given.slot] = sequence.root
            assert self.cache[given.slot] == sequence.tokens[: given.reused], "the stream holds something else"

    def choose(self, id: int, data: st.DataObject) -> Chosen:
        token = data.draw(FEW)
        self.chosen[id].append(token)
        return Chosen(token, ends=data.draw(st.sampled_from([False, False, False, True])))

    def leave(self, ended: Ended) -> None:
        assert ended.id not in self.ended, "ended twice"
        self.ended[ended.id] = ended.ending

    @invariant()
    def every_request_is_in_exactly_one_place(self) -> None:
        state = self.state
        waiting = [sequence.id for sequence in state.waiting]
        running = [sequence.id for sequence in state.running.values()]
        assert sorted([*waiting, *running, *self.ended]) == sorted(self.wanted)
        assert len(state.running) <= state.slots
        for slot, sequence in state.running.items():
            assert sequence.slot == slot
            assert self.cache[slot] == sequence.tokens[: sequence.computed]
            assert state.held[slot] == []
        for slot in set(self.cache) - set(state.running):
            held = state.held[slot] if state.sharing else []
            assert state.held[slot] == held == self.cache[slot][: len(held)]
            assert state.aligned or not state.sharing or held == self.cache[slot]

    @invariant()
    def the_tree_promises_only_what_streams_hold_or_will_hold(self) -> None:
        state = self.state
        for slot in range(state.slots):
            held = state.running[slot].tokens if slot in state.running else state.held[slot]
            for root in ("", "lora"):
                for match in state.tree.matches(root, held):
                    assert slot not in match.streams or match.length <= len(held)

    @invariant()
    def no_token_is_lost_and_no_bound_is_passed(self) -> None:
        for id, sequence in self.wanted.items():
            assert sequence.tokens == self.prompts[id] + self.chosen[id]
            assert len(sequence.tokens) <= self.state.ctx
            assert sequence.new == len(self.chosen[id]) <= sequence.max_new

    @invariant()
    def the_turns_count_what_there_is(self) -> None:
        for key in "abc":
            turn = self.state.turns.keys.get(key)
            running = sum(sequence.key == key for sequence in self.state.running.values())
            waiting = sum(sequence.key == key for sequence in self.state.waiting)
            assert (running, waiting) == ((turn.running, turn.waiting) if turn else (0, 0))

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        for _ in range(10_000):
            self.now_s += 1.0
            self.state.turns.tick(self.now_s)
            decided = plan(self.state)
            if decided.preempt is not None:
                self.state.preempt(decided.preempt)
            elif decided.empty:
                break
            admit(self.state, decided)
            choices = {part.id: Chosen(1) for part in (*decided.rows, *decided.chunks)}
            apply(self.state, decided, choices)
        assert not self.state.running
        assert not self.state.waiting


Scheduling.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestScheduling = Scheduling.TestCase


def stepped(state: Schedule, token: int = 50) -> Plan:
    """One whole step in which every request gets `token`."""
    state.turns.tick(0.0)
    decided = plan(state)
    admit(state, decided)
    apply(state, decided, {part.id: Chosen(token) for part in (*decided.rows, *decided.chunks)})
    return decided


def test_decoding_comes_before_prompts_and_prompts_are_cut_by_the_budget() -> None:
    state = Schedule(slots=2, ctx=64, chunk=4, budget=6)
    state.submit(Sequence(1, list(range(3)), 9))
    stepped(state)
    state.submit(Sequence(2, list(range(10, 20)), 9))
    second = plan(state)
    assert [row.id for row in second.rows] == [1]
    assert [(chunk.id, chunk.start, len(chunk.tokens)) for chunk in second.chunks] == [(2, 0, 4), (2, 4, 2)]


def test_a_free_slot_beside_the_running_ones_is_taken_so_that_they_stay_neighbours() -> None:
    state = Schedule(slots=4, ctx=64, chunk=4, budget=16)
    for id in (1, 2, 3):
        state.submit(Sequence(id, [id], 9))
    stepped(state)
    state.end(2, Ending.CANCELLED)
    state.submit(Sequence(4, [9], 9))
    assert [given.slot for given in plan(state).admit] == [1]


def test_when_nobody_runs_an_empty_slot_is_taken_before_one_that_holds_a_conversation() -> None:
    state = Schedule(slots=2, ctx=64, chunk=16, budget=16)
    state.submit(Sequence(1, [1, 2, 3], 1))
    stepped(state)
    state.submit(Sequence(2, [7, 8, 9], 1))
    assert stepped(state).admit[0].slot == 1
    state.submit(Sequence(3, [1, 2, 3, 50, 4], 1))
    assert (plan(state).admit[0].slot, plan(state).admit[0].reused) == (0, 3)


def test_a_prompt_waits_while_another_computes_the_same_beginning_and_then_takes_a_copy() -> None:
    state = Schedule(slots=4, ctx=64, chunk=8, budget=8, worth=4)
    shared = list(range(10, 26))
    for id in (1, 2, 3):
        state.submit(Sequence(id, [*shared, id], 9))
    first = stepped(state)
    assert [given.id for given in first.admit] == [1]
    stepped(state)
    third = stepped(state)
    assert [(given.id, given.reused, given.source) for given in third.admit] == [(2, 16, 0), (3, 16, 0)]
    assert [len(chunk.tokens) for chunk in third.chunks] == [1, 1, 1]


def test_an_id_that_left_while_the_step_ran_is_passed_over() -> None:
    state = Schedule(slots=1, ctx=64, chunk=4, budget=8)
    state.submit(Sequence(1, [1, 2], 9))
    decided = plan(state)
    admit(state, decided)
    assert state.end(1, Ending.CANCELLED) == Ended(1, 0, Ending.CANCELLED)
    assert apply(state, decided, {}) == []


def test_a_more_urgent_request_takes_the_slot_of_a_less_urgent_one_which_goes_on_later() -> None:
    state = Schedule(slots=1, ctx=64, chunk=8, budget=8)
    state.submit(Sequence(1, [1, 2], 3, priority=9))
    stepped(state)
    state.submit(Sequence(2, [5], 1, priority=0))
    decided = plan(state)
    assert decided.preempt == 0
    assert decided.empty
    state.preempt(0)
    assert [given.id for given in stepped(state).admit] == [2]
    assert [given.id for given in stepped(state).admit] == [1]
    assert state.running[0].tokens == [1, 2, 50, 50]


def test_of_two_keys_the_one_that_was_served_less_goes_first() -> None:
    state = Schedule(slots=1, ctx=64, chunk=64, budget=64)
    for id, key in ((1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")):
        state.submit(Sequence(id, list(range(100 * id, 100 * id + 20)), 1, key=key))
    order = [stepped(state).admit[0].id for _ in range(5)]
    assert order == [1, 3, 2, 5, 4]


def test_slots_that_a_key_used_a_moment_ago_are_not_taken_by_one_above_its_share() -> None:
    state = Schedule(slots=4, ctx=64, chunk=64, budget=64)
    for id in (1, 2):
        state.submit(Sequence(id, [id], 9, key="calm"))
    stepped(state)
    for id in range(3, 9):
        state.submit(Sequence(id, [id], 9, key="greedy"))
    stepped(state)
    state.end(1, Ending.CANCELLED)
    assert plan(state).admit == ()
    state.turns.tick(5.0)
    assert [given.id for given in plan(state).admit] == [5]
