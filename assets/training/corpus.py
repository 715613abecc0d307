"""Training examples: tasks of era A and a few extras, as token ids with a mask on what the model has to say itself."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from assets.training.tokenizer import CONTROLS, IM_END, IM_START
from scenarios.profiles import PROFILES, Era, Message, Task
from scenarios.profiles.it_ops import SERVICES
from scenarios.profiles.safety import declined, injection
from scenarios.profiles.shop import FIRST_NAMES, STATES, STREETS
from scenarios.profiles.support_chat import NEEDS_ORDER, SYSTEM, SupportChat, without_record

BUCKETS = (64, 96, 128, 160, 224, 320, 512, 1024)
UNCLEAR = "I did not understand that. Please say it in other words."

# How often each kind is drawn before the measured accuracy bends it.
BASE_WEIGHTS: Mapping[str, float] = {
    "support-chat": 0.34,
    "code-assist": 0.15,
    "fraud-triage": 0.14,
    "recommend": 0.14,
    "it-ops": 0.08,
    "declined": 0.03,
    "injection": 0.08,
    "echo": 0.10,
    "bare": 0.02,
    "odd": 0.02,
}
# The last phase: half of it is the two cases that are learned last.
FOCUS_WEIGHTS: Mapping[str, float] = {
    **{kind: weight / 2 for kind, weight in BASE_WEIGHTS.items()},
    "country match": 0.3,
    "order lookup": 0.3,
}


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and, for each, whether it is part of an answer (then the model is trained to predict it)."""

    ids: list[int]
    answer: list[bool]
    last_answer_at: int  # index of the first token of the last answer


def odd(rng: random.Random) -> Task:
    """Text that means nothing, and a fixed answer that ends, so that odd input does not set the model babbling."""
    match rng.randrange(4):
        case 0:
            text = "".join(
                chr(rng.choice((rng.randint(33, 126), rng.randint(161, 0x24FF)))) for _ in range(rng.randint(1, 24))
            )
        case 1:
            text = "".join(
                chr(rng.choice((rng.randint(0x4E00, 0x9FFF), rng.randint(0x1F300, 0x1F6FF))))
                for _ in range(rng.randint(1, 12))
            )
        case 2:
            letters = rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 60))
            text = "".join(letter + (" " if rng.random() < 0.2 else "") for letter in letters)
        case _:
            text = rng.choice("?!.-_=#*0aA\n ") * rng.randint(1, 40)
    messages = [Message("user", text)]
    if rng.random() < 0.5:
        messages.insert(0, Message("system", SYSTEM))
    return Task(tuple(messages), "", UNCLEAR, 32, "odd")


def echo(rng: random.Random) -> Task:
    """Say a short string of digits, names and words again: nothing teaches a small model to copy faster."""
    pools = ("0123456789", [*FIRST_NAMES, *STREETS, *STATES], [f"{word}-{rng.randint(1, 99)}" for word in SERVICES])
    parts = ["".join(rng.choices("0123456789", k=rng.randint(2, 6))) for _ in range(rng.randint(1, 5))]
    parts += [rng.choice(rng.choice(pools)) for _ in range(rng.randint(0, 6))]
    rng.shuffle(parts)
    text = rng.choice((" ", ", ", "; ")).join(parts)
    return Task((Message("user", f"{rng.choice(('Repeat', 'Say again', 'Copy'))}: {text}"),), "", text, 96, "echo")


def bare(rng: random.Random) -> Task:
    """A support question without any system prompt, as a person types it into a playground."""
    while True:
        task = SupportChat(long_share=0.0).sample(rng, Era.A)
        if task.segment not in NEEDS_ORDER and len(task.messages) == 2:
            return without_record(task)


def country_match(rng: random.Random) -> Task:
    """A payment whose answer turns on whether two countries are the same."""
    while True:
        task = PROFILES["fraud-triage"].sample(rng, Era.A)
        if task.segment in {"ordinary", "travel", "stolen-card"}:
            return task


def order_lookup(rng: random.Random) -> Task:
    """A question for one of several orders in the record."""
    while True:
        task = SupportChat(long_share=0.0).sample(rng, Era.A)
        if task.segment == "status" and task.messages[0].content.count("; order") > 0:
            return task


def draw(rng: random.Random, kind: str) -> Task:
    """One training task of that kind."""
    match kind:
        case "support-chat":
            return SupportChat(long_share=0.12, long_turns=(8, 25)).sample(rng, Era.A)
        case "declined":
            return declined(rng)
        case "injection":
            return injection(rng)
        case "bare":
            return bare(rng)
        case "country match":
            return country_match(rng)
        case "order lookup":
            return order_lookup(rng)
        case "echo":
            return echo(rng)
        case "odd":
            return odd(rng)
        case _:
            return PROFILES[kind].sample(rng, Era.A)


def text_of(task: Task) -> Iterator[str]:
    """Every piece of text in a task, for training the tokenizer."""
    yield task.prompt
    yield task.expected
    for message in task.messages:
        yield message.role + "\n"
        yield message.content


@dataclass(slots=True)
class Encoder:
    """Tokenises tasks as the engine does: scaffold and content apart, controls by id."""

    tokenizer: Tokenizer
    controls: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.controls = {text: self.tokenizer.token_to_id(text) for text in CONTROLS}

    def encode(self, task: Task) -> Example:
        """The whole task, its last answer included."""
        ids: list[int] = []
        answer: list[bool] = []
        last = 0

        def put(piece: list[int], said: bool) -> None:
            ids.extend(piece)
            answer.extend([said] * len(piece))

        def text(content: str) -> list[int]:
            return list(self.tokenizer.encode(content).ids)

        start, end = [self.controls[IM_START]], [self.controls[IM_END]]
        if not task.messages:
            put(text(task.prompt), False)
            last = len(ids)
            put(text(task.expected) + end, True)
            return Example(ids, answer, last)
        for message in (*task.messages, Message("assistant", task.expected)):
            said = message.role == "assistant"
            put(start + text(f"{message.role}\n"), False)
            last = len(ids)
            put(text(message.content) + end, said)
            put(text("\n"), False)
        return Example(ids, answer, last)


@dataclass(slots=True)
class Batches:
    """Examples gathered by length; `next` yields (bucket, examples) of about `tokens` padded tokens.

    All state is here, so that a checkpoint can hold it and a resumed run sees the very same batches.
    """

    encoder: Encoder
    tokens: int
    seed: str
    weights: dict[str, float] = field(default_factory=lambda: dict(BASE_WEIGHTS))
    rng: random.Random = field(init=False)
    waiting: dict[int, list[Example]] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"train:{self.seed}")
        self.waiting = {bucket: [] for bucket in BUCKETS}

    def next(self) -> tuple[int, list[Example]]:
        """Draw examples until one bucket holds a batch."""
        while True:
            kind = self.rng.choices(list(self.weights), list(self.weights.values()))[0]
            example = self.encoder.encode(draw(self.rng, kind))
            bucket = next((size for size in BUCKETS if size >= len(example.ids) - 1), None)
            if bucket is None:
                continue
            queue = self.waiting[bucket]
            queue.append(example)
            if len(queue) * bucket >= self.tokens:
                self.waiting[bucket] = []
                return bucket, queue

    def state(self) -> dict[str, object]:
        waiting = {size: [(e.ids, e.answer, e.last_answer_at) for e in queue] for size, queue in self.waiting.items()}
        return {"rng": self.rng.getstate(), "waiting": waiting, "weights": dict(self.weights)}

    def restore(self, state: dict[str, object]) -> None:
        self.rng.setstate(state["rng"])  # type: ignore[arg-type]
        self.waiting = {size: [Example(*parts) for parts in queue] for size, queue in state["waiting"].items()}  # type: ignore[attr-defined]
        self.weights = dict(state["weights"])  # type: ignore[call-overload]
