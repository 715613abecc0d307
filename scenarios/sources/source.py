"""The tasks of one entry of a mix, whatever they come from."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scenarios import draws
from scenarios.arrivals import Ints
from scenarios.definition import Dataset, Part, Sessions, Think
from scenarios.lengths import lengths
from scenarios.metrics import ODD_PROFILE
from scenarios.odd import ODD_CLASSES, OddClass
from scenarios.profiles import PROFILES, Era, Message, Task
from scenarios.profiles.support_chat import asked, conversation
from scenarios.sources.files import dataset_at, demand_same
from scenarios.sources.made_up import replayed_task, synthetic_task
from scenarios.sources.seed import Ask, Seed
from scenarios.traces import Trace
from scenarios.workload import SAFETY_PROFILE, safety_task

_NO_PAUSE = Think()


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """`task` makes the same task for the same arguments; its generator is the start's own, fresh for each turn.

    `turns`: how many requests each start of the entry has (None: one), with the pause `think` between them.
    """

    task: Callable[[random.Random, Era, Ask], Task | OddClass]
    turns: Ints | None = None
    think: Think = _NO_PAUSE


def source_of(part: Part, played: Trace | None, seed: Seed, count: int) -> Source:
    """The source of an entry with `count` starts. `played`: the trace that the arrivals follow, as far as it is used.

    Raises DefinitionErrors for a file that is not the one that the scenario names.
    """
    if part.sessions is not None:
        return _sessions(part.sessions, seed, count)
    if part.dataset is not None:
        return _dataset(part.dataset, seed, count)
    if part.replay is not None:
        return Source(replayed_task(part.replay, played, seed))
    if part.synthetic is not None:
        return Source(synthetic_task(part.synthetic, seed, count))
    if part.profile == ODD_PROFILE:
        order = odd_order(seed.number, count)
        return Source(lambda _rng, _era, ask: order[ask.nth])
    if part.profile == SAFETY_PROFILE:
        return Source(lambda rng, _era, _ask: safety_task(rng))
    sample = PROFILES[part.profile].sample
    return Source(lambda rng, era, _ask: sample(rng, era))


def _sessions(sessions: Sessions, seed: Seed, count: int) -> Source:
    turns = lengths(sessions.turns, seed.stream(0), count)

    def task(rng: random.Random, era: Era, ask: Ask) -> Task:
        known, drawn = conversation(rng, era, int(turns[ask.nth]))
        # without the number of turns: it rises while conversations go on, which is no drift of the world
        question = drawn[ask.turn].question
        return replace(asked(known, drawn[: ask.turn + 1]), numbers={"question_chars": float(len(question))})

    return Source(task, turns, sessions.think)


def _dataset(dataset: Dataset, seed: Seed, count: int) -> Source:
    """Every row once in an order of its own, then every row again in another."""
    rows = dataset_at(Path(dataset.path))
    demand_same(dataset.path, rows.digest, dataset.digest)
    bits = seed.stream(0)
    rounds = [draws.order(bits, len(rows)) for _ in range(-(-count // len(rows)))]
    order = np.concatenate(rounds)[:count] if rounds else np.empty(0, dtype=np.int64)

    def task(_rng: random.Random, _era: Era, ask: Ask) -> Task:
        row = rows[int(order[ask.nth])]
        said = row.messages[-1].content if row.messages else row.prompt
        return Task(
            messages=tuple(Message(role, content) for role, content in row.messages),
            prompt=row.prompt,
            expected=row.expected or "",
            max_tokens=row.max_tokens or dataset.max_tokens,
            segment=row.tags[0] if row.tags else "",
            numbers={"turns": float(len(row.messages)), "question_chars": float(len(said))},
            parameters=row.parameters,
        )

    return Source(task)


def odd_order(seed: int, count: int) -> list[OddClass]:
    """Which odd class each probe is of: every class once in an order of its own, then every class again."""
    order: list[OddClass] = []
    rng = random.Random(f"seatrial {seed} odd")
    while len(order) < count:
        order += rng.sample(list(ODD_CLASSES.values()), len(ODD_CLASSES))
    return order[:count]
