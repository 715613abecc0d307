"""The badly behaved clients, one function a kind: each takes an order that is held and lets its crowd loose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import chain, cycle
from typing import Any

from scenarios.faults.clients.conversation import Conversation
from scenarios.faults.clients.crowd import PAUSE_S, Client, Crowd, crowd
from scenarios.faults.clients.prompts import body
from scenarios.faults.holder.hold import Hold
from scenarios.faults.injector import FaultRefused

_LONG_ANSWER, _SHORT_ANSWER = 512, 16  # tokens
_WORDS = 12
_SMALLEST_BUFFER = 2048
_POLL_S = 0.1
_GATHERING_S = 2.0  # a herd waits no longer for those of it that cannot connect
_PIECE = 64 << 10
_MOST_ABUSED = 512  # connections of the one customer
_EVENT = b"\ndata: "
_ENDLESS = b"X-Slow: a\r\n"
_TAIL = 64
_MOST_WORDS = 4_000_000  # at the same time: each takes up to 40 bytes until it is sent
_BROKEN = (OSError, EOFError)

Once = Callable[[Conversation, Crowd, int], Awaitable[bool]]
"""One request; whether it was served. OSError and EOFError mean that the connection broke."""


def slow_readers(hold: Hold) -> None:
    """They ask for long answers and read `rate` bytes a second, in pieces of a tenth of a second's."""
    rate = hold.number("rate")
    at_once = max(1, round(rate / 10))

    async def read_slowly(talk: Conversation, shared: Crowd, number: int) -> bool:
        await talk.ask(body(shared.draw, number, shared.model, _WORDS, _LONG_ANSWER))
        status, tail = await talk.status(), b""
        while data := await talk.some(at_once):
            tail = (tail + data)[-_TAIL:]
            await asyncio.sleep(len(data) / rate)
        return talk.ended(status, tail)

    crowd(hold, int(hold.number("clients")), _again_and_again(read_slowly, PAUSE_S, _SMALLEST_BUFFER))


def hang_up(hold: Hold) -> None:
    """They leave after `after` events; with 0 as soon as the request is sent and has had time to be read."""
    after = int(hold.number("after"))

    async def leave(talk: Conversation, shared: Crowd, number: int) -> bool:
        await talk.ask(body(shared.draw, number, shared.model, _WORDS, _LONG_ANSWER))
        if not after:
            await asyncio.sleep(PAUSE_S)
            return False
        status, seen, tail = await talk.status(), 0, b""
        while data := await talk.some():
            seen += ((tail[1 - len(_EVENT) :] or b"\n") + data).count(_EVENT)
            tail = (tail + data)[-_TAIL:]
            if seen >= after and status == 200:
                return False
        talk.ended(status, tail)
        return False

    crowd(hold, int(hold.number("clients")), _again_and_again(leave, PAUSE_S))


def retry_storm(hold: Hold) -> None:
    """They ask again after `wait`, 0 being at once, where they were not served, and anew where they were."""
    client = _again_and_again(partial(_whole_answer, words=_WORDS), hold.number("wait"))
    crowd(hold, int(hold.number("clients")), client)


def herd(hold: Hold) -> None:
    """They wait until the target answers, connect, and write at the same moment; once."""
    clients = int(hold.number("clients"))
    ready, go = asyncio.Event(), asyncio.Event()
    there: list[int] = []  # connected, or turned away

    def arrive(shared: Crowd, number: int) -> None:
        there.append(number)
        if len(there) == shared.tally.clients:
            go.set()

    async def rush(shared: Crowd, number: int) -> None:
        if number == 0:
            await _until_it_answers(shared)
            ready.set()
            asyncio.get_running_loop().call_later(_GATHERING_S, go.set)
        await ready.wait()
        try:
            async with shared.connection() as talk:
                arrive(shared, number)
                await go.wait()
                await _whole_answer(talk, shared, number, _WORDS)
        except OSError:
            if number not in there:
                arrive(shared, number)

    crowd(hold, clients, rush, once=True)


def abuser(hold: Hold) -> None:
    """One customer who asks `rate` times a second, whatever comes of it. late: without a connection left for it."""
    every_s = 1 / hold.number("rate")

    async def ask(shared: Crowd, number: int) -> None:
        with suppress(*_BROKEN):
            async with shared.connection() as talk:
                await _whole_answer(talk, shared, number, _WORDS)

    async def abuse(shared: Crowd, _: int) -> None:
        loop = asyncio.get_running_loop()
        due_s, number = loop.time(), 0
        async with asyncio.TaskGroup() as asking:
            while True:
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                if shared.full:
                    shared.tally.late += 1
                else:
                    asking.create_task(ask(shared, number))
                due_s, number = due_s + every_s, number + 1

    crowd(hold, 1, abuse, each=_MOST_ABUSED)


def huge_upload(hold: Hold) -> None:
    """They send a body of `size` bytes, made as it goes, and stop as soon as they are answered."""
    size = int(hold.number("size"))

    async def upload(talk: Conversation, shared: Crowd, number: int) -> bool:
        start, quote, end = body(shared.draw, number, shared.model, 1, 1).partition(b'"}]')  # the prompt's end
        filler = max(0, size - len(start + quote + end))

        async def send() -> None:
            await talk.write(talk.head("/v1/chat/completions", len(start + quote + end) + filler) + start)
            for at in range(0, filler, _PIECE):
                await talk.write(b"a" * min(filler - at, _PIECE))
            await talk.write(quote + end)

        sending, answer = asyncio.create_task(send()), asyncio.create_task(talk.status())
        try:
            await asyncio.wait((sending, answer), return_when=asyncio.FIRST_COMPLETED)
            return await talk.rest(await answer)  # also where it was closed to what is sent: it may have been answered
        finally:
            await _drop(sending, answer)

    crowd(hold, int(hold.number("clients")), _again_and_again(upload, PAUSE_S))


def slowloris(hold: Hold) -> None:
    """They send a head that never ends, a byte every `pause`, and come back when they are thrown out."""
    pause_s = hold.number("pause")

    async def dribble(talk: Conversation, _: Crowd, __: int) -> bool:
        start = talk.head("/v1/models")[:-2]
        answer = asyncio.create_task(talk.status())
        try:
            for byte in chain(start, cycle(_ENDLESS)):
                await talk.write(bytes((byte,)))
                await asyncio.wait((answer,), timeout=pause_s)
                if answer.done():
                    break
            return await talk.rest(await answer, streamed=False)
        finally:
            await _drop(answer)

    crowd(hold, int(hold.number("clients")), _again_and_again(dribble, PAUSE_S))


def long_contexts(hold: Hold) -> None:
    """They ask with prompts of `words` words, no two of which begin alike. Raises FaultRefused for too many of both."""
    clients, words = int(hold.number("clients")), int(hold.number("words"))
    if clients * words > _MOST_WORDS:
        what = f"{clients:,} clients with prompts of {words:,} words would take much of this machine's own memory"
        raise FaultRefused(f"{what}; choose fewer clients or words, {_MOST_WORDS:,} in all")
    crowd(hold, clients, _again_and_again(partial(_whole_answer, words=words), PAUSE_S))


async def _whole_answer(talk: Conversation, shared: Crowd, number: int, words: int) -> bool:
    """Ask, read all of it, and say whether it was served."""
    await talk.ask(body(shared.draw, number, shared.model, words, _SHORT_ANSWER))
    return await talk.rest(await talk.status())


async def _until_it_answers(shared: Crowd) -> None:
    while True:
        with suppress(*_BROKEN):
            async with shared.connection() as talk:
                await talk.write(talk.head("/v1/models"))
                status = await talk.status()
                await talk.rest(status, streamed=False)
                if status < 500 and status != 429:  # also one that has no such list
                    return
        await asyncio.sleep(_POLL_S)


async def _drop(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _again_and_again(once: Once, pause_s: float, receive_bytes: int = 0) -> Client:
    """A client that makes one request after the other; after one that was not served it pauses."""

    async def client(shared: Crowd, number: int) -> None:
        while True:
            served = False
            with suppress(*_BROKEN):
                async with shared.connection(receive_bytes) as talk:
                    served = await once(talk, shared, number)
            if not served:
                await asyncio.sleep(pause_s)

    return client
