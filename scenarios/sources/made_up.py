"""Tasks of made-up text: as long as a trace says, or as long as chance says, with beginnings in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from scenarios import draws
from scenarios.definition import Replay, Synthetic
from scenarios.lengths import lengths
from scenarios.profiles import Era, Message, Task
from scenarios.sources.files import demand_same, trace_at
from scenarios.sources.seed import Ask, Seed
from scenarios.synthetic import prompt_of
from scenarios.traces import Trace, shrunk

Maker = Callable[[random.Random, Era, Ask], Task]

_MASK = 0xFFFF_FFFF
_ODD = 0x9E37_79B1  # sets the shared beginnings of one entry of a mix apart from those of the next


def replayed_task(replay: Replay, played: Trace | None, seed: Seed) -> Maker:
    """Rows of the trace in order: those whose times the arrivals follow where it is the same trace, else round and
    round. Raises DefinitionErrors for a file that is not the one that the scenario names.
    """
    follows = played is not None and played.digest == replay.digest
    trace = played if played is not None and follows else trace_at(Path(replay.path))
    demand_same(replay.path, trace.digest, replay.digest)
    trace = shrunk(trace, replay.shrink)
    prompt_tokens = np.clip(trace.prompt_tokens, 1, replay.prompt_max or None)
    output_tokens = np.clip(trace.output_tokens, 1, replay.output_max or None)
    salt = seed.number & _MASK

    def task(_rng: random.Random, _era: Era, ask: Ask) -> Task:
        row = ask.start if follows else ask.nth % len(trace)
        text = prompt_of(
            int(prompt_tokens[row]), f"{seed.number} {ask.start}", trace.blocks_of(row), trace.block_tokens, salt=salt
        )
        return _task(text, int(prompt_tokens[row]), int(output_tokens[row]), replay.exact_output)

    return task


def synthetic_task(made: Synthetic, seed: Seed, count: int) -> Maker:
    """Lengths, and who shares which beginning, are drawn for all `count` tasks at once."""
    prompt_tokens = lengths(made.prompt_tokens, seed.stream(0), count)
    output_tokens = lengths(made.output_tokens, seed.stream(1), count)
    shares = draws.uniforms(seed.stream(2), count) < made.reuse
    which = np.floor(draws.uniforms(seed.stream(3), count) * made.prefixes).astype(np.int64)
    salt = (seed.number + seed.first * _ODD) & _MASK

    def task(_rng: random.Random, _era: Era, ask: Ask) -> Task:
        n = ask.nth
        beginning: Iterable[int] = (int(which[n]),) if shares[n] else ()
        tokens = int(prompt_tokens[n])
        text = prompt_of(tokens, f"{seed.number} {ask.start}", beginning, made.prefix_tokens, salt=salt)
        return _task(text, tokens, int(output_tokens[n]), made.exact_output)

    return task


def _task(text: str, prompt_tokens: int, output_tokens: int, exact_output: bool) -> Task:
    return Task(
        messages=(Message("user", text),),
        prompt="",
        expected="",
        max_tokens=output_tokens,
        segment="",
        numbers={"prompt_tokens": float(prompt_tokens), "output_tokens": float(output_tokens)},
        exact_output=exact_output,
    )
