"""Loads: many requests at once, closed loop or open, and what came of them all."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.engine_bench.client import Address, Answer, answer_to
from tests.benchmarks.engine_bench.prompts import Ask

TURNED_AWAY_S = 0.1
"""A client of a closed loop pauses for so long after a 429: far less than any Retry-After, but it does not spin."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load that was carried: its answers, and when the first client found nothing left to ask."""

    answers: list[Answer]
    begin_ns: int
    full_until_ns: int

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.ok]

    def tokens_per_s(self) -> float:
        """While every client was busy: each answer's tokens spread evenly over its events, events counted by stamp."""
        return tokens_within(self.answers, self.begin_ns, self.full_until_ns) / (
            (self.full_until_ns - self.begin_ns) / 1e9
        )


def tokens_within(answers: Iterable[Answer], begin_ns: int, end_ns: int) -> float:
    """Tokens that came in [begin, end)."""
    total = 0.0
    for answer in answers:
        if answer.events_ns:
            inside = sum(begin_ns <= stamp_ns < end_ns for stamp_ns in answer.events_ns)
            total += answer.tokens * inside / len(answer.events_ns)
    return total


async def closed_loop(address: Address, asks: Iterable[Ask], clients: int, timeout_s: float) -> Loaded:
    """`clients` at once take requests from one list until none is left; each answer gets `timeout_s`."""
    queue = iter(asks)
    answers: list[Answer] = []
    full_until_ns = 0
    begin_ns = time.monotonic_ns()

    async def client() -> None:
        nonlocal full_until_ns
        for ask in queue:
            answers.append(await answer_to(address, ask, timeout_s))
            if answers[-1].status == 429:
                await asyncio.sleep(TURNED_AWAY_S)
        full_until_ns = full_until_ns or time.monotonic_ns()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return Loaded(answers, begin_ns, full_until_ns)


@contextlib.asynccontextmanager
async def carrying(load: Coroutine[Any, Any, Loaded]) -> AsyncIterator[asyncio.Task[Loaded]]:
    """A load that runs beside the block; at its end whatever is left of it is cut off."""
    task = asyncio.create_task(load)
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def until(seconds: float, asks: Iterable[Ask]) -> Iterator[Ask]:
    """`asks` for so many seconds from now."""
    end_s = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < end_s, asks)


async def open_loop(address: Address, due: Sequence[tuple[float, Ask]], timeout_s: float) -> Loaded:
    """Send each request `due` seconds from now, whatever became of those before it."""
    begin_ns = time.monotonic_ns()
    answers: list[Answer] = []

    async def one(due_ns: int, ask: Ask) -> None:
        answer = await answer_to(address, ask, timeout_s)
        answer.due_ns = due_ns
        answers.append(answer)

    async with asyncio.TaskGroup() as group:
        for due_s, ask in due:
            await asyncio.sleep(max(0.0, due_s - (time.monotonic_ns() - begin_ns) / 1e9))
            group.create_task(one(begin_ns + round(due_s * 1e9), ask))
        sent_ns = time.monotonic_ns()
    return Loaded(answers, begin_ns, sent_ns)
