"""Which sequences get which tokens in the next step: pure decisions, no llama.cpp, no clock.

The state is a queue (`waiting`), the `running` sequences by slot, and what idle slots still `held` from earlier ones.
`plan` reads it, `admit` gives slots, the caller computes what the plan says, `apply` writes the outcome back. A step
decodes one token for every sequence whose prompt is done, then spends its budget on prompts. A slot is a KV stream of
its own; a prompt that begins like what some stream holds starts from there: in that stream when it is idle, else from
a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from engine.decode.images import ImageSpan
from engine.decode.prefixes import PrefixTree
from engine.decode.turns import Turns


class Ending(Enum):
    """Why a sequence ended. The values are the wire's `finish`."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    ERROR = "error"
    REFUSED = "refused"
    """The request itself was at fault, as it turned out."""


@dataclass(slots=True)
class Sequence:
    """One request. `tokens` is its prompt and every token chosen so far; `computed` of them are in the KV cache."""

    id: int
    tokens: list[int]
    max_new: int
    """At least 1."""
    key: str = ""
    """Whose request it is, for fairness."""
    priority: int = 0
    """0 goes first."""
    adapter: str = ""
    """LoRA adapter; a llama_decode holds rows of one only."""
    root: str = ""
    """Prompts are shared only among sequences of the same root."""
    images: tuple[ImageSpan, ...] = ()
    """In order; their positions hold pseudo tokens."""
    slot: int = -1
    computed: int = 0
    new: int = 0
    """Tokens chosen so far."""
    exact: int | None = None
    """Where chunks have fixed places: tokens of the first prompt that whole chunks computed. None: all are alike."""
    prefill_until: int = 0
    """Tokens to compute in chunks after getting a slot; the last of them brings the next token."""

    @property
    def prefilling(self) -> bool:
        return self.computed < self.prefill_until

    @property
    def shareable(self) -> int:
        """Tokens in its stream that others may start from."""
        return self.computed if self.exact is None else min(self.computed, self.exact)


@dataclass(frozen=True, slots=True)
class Admission:
    """A sequence gets a slot; the first `reused` tokens of its prompt come from the stream of slot `source` (which may
    be its own)."""

    id: int
    slot: int
    source: int
    reused: int


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """Compute one token of one sequence and choose the next."""

    id: int
    slot: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Compute prompt tokens [start, start + len(tokens)) of one sequence; choose a token after the last chunk. They are
    all of text, or all of one image."""

    id: int
    slot: int
    start: int
    tokens: tuple[int, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. `preempt` is the slot of a sequence that goes back to the queue first, for a more urgent one."""

    admit: tuple[Admission, ...]
    rows: tuple[DecodeRow, ...]
    chunks: tuple[Chunk, ...]
    preempt: int | None = None

    @property
    def empty(self) -> bool:
        return not self.rows and not self.chunks


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
    """All mutable state of scheduling."""

    slots: int
    ctx: int
    chunk: int
    """Most prompt tokens in one llama_decode."""
    budget: int
    """Most prompt tokens in one step; the caller adapts it."""
    aligned: bool = False
    """Chunks are of `chunk` tokens, at multiples of it, and only whole ones are shared: the same llama_decode calls for
    a prompt, whatever else runs."""
    sharing: bool = True
    """Whether prompts are shared at all."""
    worth: int = 16
    """So many tokens a stream must save before it is copied."""
    waiting: list[Sequence] = field(default_factory=list)
    running: dict[int, Sequence] = field(default_factory=dict)
    """Slot -> sequence."""
    held: list[list[int]] = field(default_factory=list)
    """What the stream of each idle slot holds from its last sequence; [] for running ones."""
    left: list[int] = field(default_factory=list)
    """When each slot became idle, in steps: the one longest idle is overwritten first."""
    steps: int = 0
    tree: PrefixTree = field(default_factory=PrefixTree)
    turns: Turns = field(init=False)
    crowded: bool = False
    """Memory ran out: nobody is admitted until a running sequence ends."""

    def __post_init__(self) -> None:
        self.turns = Turns(self.slots)
        self.held = [[] for _ in range(self.slots)]
        self.left = [0] * self.slots

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence. Its prompt must leave room for one more token."""
        if not 0 < len(sequence.tokens) < self.ctx:
            raise ValueError(f"a prompt of {len(sequence.tokens)} tokens does not fit into {self.ctx}")
        sequence.max_new = max(1, min(sequence.max_new, self.ctx - len(sequence.tokens)))
        self.turns.join(sequence.key)
        self.waiting.append(sequence)

    def end(self, id: int, ending: Ending) -> Ended | None:
        """Take a sequence out, wherever it is; None when it is not here (it ended a moment ago)."""
        for sequence in self.waiting:
            if sequence.id == id:
                self.waiting.remove(sequence)
                self.turns.keys[sequence.key].waiting -= 1
                return Ended(id, -1, ending)
        for sequence in self.running.values():
            if sequence.id == id:
                return self.leave(sequence, ending)
        return None

    def preempt(self, slot: int | None = None) -> Sequence | None:
        """Move a running sequence back to the queue, to be computed anew; it keeps the tokens it has.

        Without a slot: memory ran out, and the youngest goes; its stream is forgotten. None if only one runs.
        """
        if slot is None:
            if len(self.running) < 2:
                return None
            slot = max(self.running.values(), key=lambda sequence: (sequence.priority, sequence.id)).slot
            self.crowded = True
        sequence = self.running[slot]
        self._retire(sequence)
        if self.crowded:
            self.forget(slot)
        sequence.computed = 0
        self.turns.keys[sequence.key].waiting += 1
        self.waiting.insert(0, sequence)
        return sequence

    def forget(self, slot: int) -> None:
        """The stream of an idle slot was emptied."""
        self.held[slot] = []
        self.tree.remove(slot)

    def leave(self, sequence: Sequence, ending: Ending) -> Ended:
        """Take a running sequence out."""
        self._retire(sequence)
        self.crowded = False
        return Ended(sequence.id, sequence.slot, ending)

    def _retire(self, sequence: Sequence) -> None:
        """The slot becomes idle and goes on holding what was computed in it."""
        slot = sequence.slot
        del self.running[slot]
        self.turns.keys[sequence.key].running -= 1
        self.left[slot] = self.steps
        if self.sharing:
            self.held[slot] = sequence.tokens[: sequence.shareable]
            self.tree.put(slot, sequence.root, self.held[slot])

    def __repr__(self) -> str:
        slots = " ".join(f"{slot}:{seq.id}@{seq.computed}/{len(seq.tokens)}" for slot, seq in self.running.items())
        return f"<Schedule running [{slots}] waiting {[seq.id for seq in self.waiting]}>"
