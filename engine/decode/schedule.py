"""Which sequences get which tokens in the next step: pure decisions, no llama.cpp, no clock.

The state is two lists: `waiting` (a queue) and `running` (one sequence a slot). `plan` reads it, the caller computes
what the plan says, `apply` writes the outcome back. A step decodes one token for every sequence whose prompt is done,
then spends what is left of its token budget on prompt chunks, oldest sequence first. Chunks always start at multiples
of the chunk size, so that a prompt is computed the same way whoever runs beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Ending(Enum):
    """Why a sequence ended. The values are the wire's `finish`."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(slots=True)
class Sequence:
    """One request. `tokens` is its prompt and every token chosen so far; `computed` of them are in the KV cache."""

    id: int
    tokens: list[int]
    max_new: int
    """At least 1."""
    slot: int = -1
    computed: int = 0
    new: int = 0
    """Tokens chosen so far."""
    prefill_until: int = 0
    """Tokens to compute in chunks after getting a slot; the last of them brings the next token."""

    @property
    def prefilling(self) -> bool:
        return self.computed < self.prefill_until


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """Compute one token of one sequence and choose the next."""

    id: int
    slot: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Compute prompt tokens [start, start + len(tokens)) of one sequence; choose a token after the last chunk."""

    id: int
    slot: int
    start: int
    tokens: tuple[int, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. `admit` names (sequence id, slot) in queue order."""

    admit: tuple[tuple[int, int], ...]
    rows: tuple[DecodeRow, ...]
    chunks: tuple[Chunk, ...]

    @property
    def empty(self) -> bool:
        return not self.rows and not self.chunks

    @property
    def token_count(self) -> int:
        return len(self.rows) + sum(len(chunk.tokens) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The token chosen for a sequence; `ends` when it is an end token or completes a stop string."""

    token: int
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A sequence left; `slot` is -1 when it never had one."""

    id: int
    slot: int
    ending: Ending


@dataclass(slots=True)
class Schedule:
    """All mutable state of scheduling. `budget` is the most tokens one step may compute."""

    slots: int
    ctx: int
    chunk: int
    budget: int
    waiting: deque[Sequence] = field(default_factory=deque)
    running: dict[int, Sequence] = field(default_factory=dict)
    """Slot -> sequence."""
    crowded: bool = False
    """Memory ran out: nobody is admitted until a running sequence ends."""

    def __post_init__(self) -> None:
        if self.budget < self.slots + self.chunk:
            raise ValueError(f"budget {self.budget} is below slots + chunk: a prompt might never get its turn")

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence. Its prompt must leave room for one more token."""
        if not 0 < len(sequence.tokens) < self.ctx:
            raise ValueError(f"a prompt of {len(sequence.tokens)} tokens does not fit into {self.ctx}")
        sequence.max_new = max(1, min(sequence.max_new, self.ctx - len(sequence.tokens)))
        self.waiting.append(sequence)

    def end(self, id: int, ending: Ending) -> Ended | None:
        """Take a sequence out, wherever it is; None when it is not here (it ended a moment ago)."""
        for sequence in self.waiting:
            if sequence.id == id:
                self.waiting.remove(sequence)
                return Ended(id, -1, ending)
        for slot, sequence in self.running.items():
            if sequence.id == id:
                del self.running[slot]
                self.crowded = False
                return Ended(id, slot, ending)
        return None

    def preempt(self) -> Sequence | None:
        """Move the youngest running sequence back to the head of the queue, to be computed anew; None if only one runs.

        The caller frees the slot it names; the sequence keeps the tokens it has.
        """
        if len(self.running) < 2:
            return None
        youngest = max(self.running.values(), key=lambda sequence: sequence.id)
        del self.running[youngest.slot]
        youngest.computed = 0
        self.crowded = True
        self.waiting.appendleft(youngest)
        return youngest

    def __repr__(self) -> str:
        slots = " ".join(f"{slot}:{seq.id}@{seq.computed}/{len(seq.tokens)}" for slot, seq in self.running.items())
        return f"<Schedule running [{slots}] waiting {[seq.id for seq in self.waiting]}>"


def plan(state: Schedule) -> Plan:
    """Decide the next step without changing `state`."""
    full = state.crowded and bool(state.running)
    free = [] if full else [slot for slot in range(state.slots) if slot not in state.running]
    admit = tuple((seq.id, slot) for seq, slot in zip(state.waiting, free, strict=False))
    rows = tuple(
        DecodeRow(seq.id, slot, seq.computed, seq.tokens[seq.computed])
        for slot, seq in sorted(state.running.items())
        if not seq.prefilling
    )
    left = state.budget - len(rows)
    chunks: list[Chunk] = []
    ahead = [(seq, seq.computed, seq.prefill_until) for seq in state.running.values() if seq.prefilling]
    ahead += [(seq, 0, len(seq.tokens)) for seq, _slot in zip(state.waiting, free, strict=False)]
    slot_of = dict(admit)
    for seq, start, until in sorted(ahead, key=lambda item: item[0].id):
        while start < until:
            size = min(state.chunk, until - start)
            if size > left:
                return Plan(admit, rows, tuple(chunks))
            slot = slot_of.get(seq.id, seq.slot)
            end = start + size
            chunks.append(Chunk(seq.id, slot, start, tuple(seq.tokens[start:end]), last=end == until))
            left -= size
            start = end
    return Plan(admit, rows, tuple(chunks))


def admit(state: Schedule, step: Plan) -> list[Sequence]:
    """Give the admitted sequences their slots; returns them. To be called before the step is computed."""
    admitted = []
    for id, slot in step.admit:
        sequence = state.waiting.popleft()
        if sequence.id != id or slot in state.running:
            raise RuntimeError(f"the plan admits {id} to {slot}, the state says otherwise: {state!r}")
        sequence.slot, sequence.computed, sequence.prefill_until = slot, 0, len(sequence.tokens)
        state.running[slot] = sequence
        admitted.append(sequence)
    return admitted


def apply(state: Schedule, step: Plan, chosen: Mapping[int, Chosen]) -> list[Ended]:
    """Write a computed step back: positions, chosen tokens, endings. `chosen` holds one token for each id that got one.

    An id that left the state while the step ran is passed over.
    """
    ended: list[Ended] = []
    parts: list[DecodeRow | Chunk] = [*step.rows, *step.chunks]
    for part in parts:
        sequence = state.running.get(part.slot)
        if sequence is None or sequence.id != part.id:
            continue
        sequence.computed += len(part.tokens) if isinstance(part, Chunk) else 1
        if isinstance(part, Chunk) and not part.last:
            continue
        choice = chosen[part.id]
        sequence.tokens.append(choice.token)
        sequence.new += 1
        if choice.ends or sequence.new >= sequence.max_new or len(sequence.tokens) >= state.ctx:
            del state.running[part.slot]
            state.crowded = False
            ended.append(Ended(part.id, part.slot, Ending.STOP if choice.ends else Ending.LENGTH))
    return ended
