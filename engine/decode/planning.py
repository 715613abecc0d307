"""The next step, decided from the schedule's state without changing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.decode.images import outside, piece_end
from engine.decode.prefixes import common_length
from engine.decode.schedule import Admission, Chunk, DecodeRow, Plan, Schedule, Sequence

_Todo = tuple[Sequence, int, int, int]
"""A sequence, its slot, and the prompt tokens [start, until) to compute."""


def plan(state: Schedule) -> Plan:
    """Decide the next step."""
    admissions = _Admitting(state).decide() if state.waiting else {}
    preempt = _victim(state) if state.waiting and not admissions else None
    staying = [(slot, seq) for slot, seq in sorted(state.running.items()) if slot != preempt]
    rows = tuple(
        DecodeRow(seq.id, slot, seq.computed, seq.tokens[seq.computed]) for slot, seq in staying if not seq.prefilling
    )
    todo: list[_Todo] = [(seq, slot, seq.computed, seq.prefill_until) for slot, seq in staying if seq.prefilling]
    todo += [
        (seq, given.slot, given.reused, len(seq.tokens)) for seq in state.waiting if (given := admissions.get(seq.id))
    ]
    return Plan(tuple(admissions.values()), rows, tuple(_chunks(state, todo)), preempt)


def _chunks(state: Schedule, todo: list[_Todo]) -> Iterator[Chunk]:
    """Prompt pieces within the budget, in order of urgency, turn and age."""
    left = state.budget
    for seq, slot, begin, until in sorted(todo, key=lambda item: _rank(state, item[0])):
        start = begin
        while start < until and left > 0:
            size = state.chunk - start % state.chunk if state.aligned else min(state.chunk, left)
            end = piece_end(seq.images, start, min(start + size, until))
            yield Chunk(seq.id, slot, start, tuple(seq.tokens[start:end]), last=end == until)
            left -= end - start
            start = end


def _rank(state: Schedule, seq: Sequence) -> tuple[int, float, int]:
    return seq.priority, state.turns.keys[seq.key].served, seq.id


def _victim(state: Schedule) -> int | None:
    """The slot of the least urgent running sequence, when no slot is free and a more urgent one would get it."""
    if len(state.running) < state.slots or state.crowded or state.aligned:
        return None  # aligned: computed anew, an answer's tokens would be in chunks
    least = max(state.running.values(), key=lambda seq: (seq.priority, seq.id))
    urgent = {seq.id for seq in state.waiting if seq.priority < least.priority}
    return least.slot if urgent & _Admitting(state, instead_of=least).decide().keys() else None


class _Admitting:
    """Who gets which slot in this step: a working copy of what the admissions so far change."""

    def __init__(self, state: Schedule, instead_of: Sequence | None = None) -> None:
        """instead_of: only the slot of this running sequence, as if it had left."""
        self._state = state
        full = state.crowded and bool(state.running)
        self._free = set() if full else set(range(state.slots)) - set(state.running)
        self._per_key: dict[str, int] = {}
        if instead_of is not None:
            self._free = {instead_of.slot}
            self._per_key[instead_of.key] = -1
        self._given: dict[int, Admission] = {}
        """Slot -> admission."""
        self._taker: dict[int, Sequence] = {}
        """Slot -> the sequence that gets it."""
        self._cost: dict[str, float] = {}

    def decide(self) -> dict[int, Admission]:
        """Sequence id -> admission, in the order in which they are to be carried out."""
        waiting = list(self._state.waiting) if self._free else []
        while self._free and waiting:
            index = self._next(waiting)
            if index is None:
                break
            self._consider(waiting.pop(index))
        return {given.id: given for given in self._given.values()}

    def _next(self, waiting: list[Sequence]) -> int | None:
        """Whose turn it is among those who may take a slot."""
        turns, free = self._state.turns, len(self._free)
        allowed = {key: free > turns.owed(key, self._per_key) for key in {seq.key for seq in waiting}}
        best = None
        for index, seq in enumerate(waiting):
            if not allowed[seq.key]:
                continue
            rank = (seq.priority, turns.keys[seq.key].served + self._cost.get(seq.key, 0.0), seq.id)
            if best is None or rank < best[0]:
                best = (rank, index)
        return None if best is None else best[1]

    def _consider(self, seq: Sequence) -> None:
        """Give a slot, unless more of the prompt will be there for the taking in a moment."""
        worth = self._state.worth
        usable = self._usable(seq)
        target = min(self._free, key=self._oddness)
        # Of streams that save the most: one that need not be copied, then the one that was idle longest.
        source = max(
            usable,
            key=lambda slot: (usable[slot], self._fits(slot, target, usable[slot]), -self._state.left[slot]),
            default=-1,
        )
        reused = usable.get(source, 0)
        if self._promised(seq) >= reused + worth:
            return
        if self._fits(source, target, reused):
            target = source
        elif reused < worth:
            source, reused = target, 0
        self._free.remove(target)
        self._given[target] = Admission(seq.id, target, source, reused)
        self._taker[target] = seq
        self._per_key[seq.key] = self._per_key.get(seq.key, 0) + 1
        self._cost[seq.key] = self._cost.get(seq.key, 0.0) + len(seq.tokens) - reused

    def _usable(self, seq: Sequence) -> dict[int, int]:
        """Slot -> tokens at the beginning of the prompt that its stream holds by now; all above 0."""
        state = self._state
        if not state.sharing:
            return {}
        found: dict[int, int] = {}
        for match in state.tree.matches(seq.root, seq.tokens):
            for slot in match.streams:
                held = state.running[slot].shareable if slot in state.running else len(state.held[slot])
                found[slot] = min(match.length, held)
        for slot, given in self._given.items():  # such a stream holds what it took over, and nothing else
            other = self._taker[slot]
            same = common_length(other.tokens, 0, seq.tokens, 0) if other.root == seq.root else 0
            found[slot] = min(same, given.reused)
        cut = self._cut(seq)
        return {slot: usable for slot, length in found.items() if (usable := cut(length)) > 0}

    def _promised(self, seq: Sequence) -> int:
        """Tokens of the prompt that others, none of them less urgent, are about to compute."""
        if not self._state.sharing:
            return 0
        ahead = [other for other in self._state.running.values() if other.prefilling]
        ahead += self._taker.values()
        lengths = [
            common_length(other.tokens, 0, seq.tokens, 0)
            for other in ahead
            if other.root == seq.root and other.priority <= seq.priority
        ]
        return self._cut(seq)(max(lengths, default=0))

    def _cut(self, seq: Sequence) -> Callable[[int], int]:
        """How much of a shared beginning can be used: not the last token, whose logits are wanted; no part of an image;
        whole chunks only when chunks have fixed places."""
        most, unit = len(seq.tokens) - 1, self._state.chunk if self._state.aligned else 1
        if not seq.images:
            return lambda length: min(length, most) // unit * unit
        return lambda length: outside(seq.images, min(length, most) // unit * unit)

    def _oddness(self, slot: int) -> tuple[int, bool, int, int]:
        """How bad a free slot is to start in. Far from the running ones: llama.cpp computes neighbouring streams at
        once, and holes cost. Then: holding something, above all what was used of late."""
        state = self._state
        taken = [*state.running, *self._given]
        apart = max(min(taken) - slot, slot - max(taken), 0) if taken else 0
        return apart, bool(state.held[slot]), state.left[slot], slot

    def _fits(self, slot: int, target: int, reused: int) -> bool:
        """Whether a stream is taken itself instead of a copy: it is idle, as near as the best free slot `target`, and
        what it loses is not worth a copy."""
        if slot not in self._free or self._oddness(slot)[0] > self._oddness(target)[0]:
            return False
        return slot == target or len(self._state.held[slot]) - reused < self._state.worth
