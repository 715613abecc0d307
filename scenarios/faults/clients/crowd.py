"""A crowd of clients in a holder's process: they run side by side until the fault is over, and are then cut off."""

from __future__ import annotations

import asyncio
import os
import random
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from scenarios.errors import TargetError
from scenarios.faults.clients.conversation import Conversation
from scenarios.faults.clients.tally import Tally
from scenarios.faults.holder.hold import Hold
from scenarios.faults.injector import FaultRefused
from scenarios.load.dial import Dialer
from scenarios.load.target import Target, parse_target

PAUSE_S = 0.02  # after a connection that failed: a client cannot come back faster than that
_SPARE_FILES = 32
_NICER = 10

Client = Callable[["Crowd", int], Awaitable[None]]


class Crowd:
    """What its clients share. draw: their randomness, from the order's seed."""

    def __init__(self, target: Target, model: str | None, seed: int, most: int) -> None:
        """most: connections at the same time."""
        self.target = target
        self.model = model
        self.draw = random.Random(seed)
        self.tally = Tally()
        self._dialer = Dialer(target)
        self._room = asyncio.Semaphore(most)
        self._open: set[Conversation] = set()

    @property
    def full(self) -> bool:
        """Whether a further client would have to wait for a connection."""
        return self._room.locked()

    @asynccontextmanager
    async def connection(self, receive_bytes: int = 0) -> AsyncIterator[Conversation]:
        """A connection of one request; cut off at the end. Raises OSError after it was counted as refused.

        receive_bytes: what the kernel may buffer of the answer; 0: as it likes.
        """
        async with self._room:
            self.tally.asked += 1
            try:
                talk = await Conversation.begin(self._dialer, self.target, self.tally, receive_bytes)
            except OSError:
                self.tally.refused += 1
                await asyncio.sleep(PAUSE_S)
                raise
            except asyncio.CancelledError:
                self.tally.left += 1
                raise
            self._open.add(talk)
            self.tally.connections = max(self.tally.connections, len(self._open))
            try:
                yield talk
            finally:
                self._open.discard(talk)
                talk.cut_off()


def crowd(hold: Hold, clients: int, client: Client, *, each: int = 1, once: bool = False) -> None:
    """Let so many clients behave as `client` says, until the fault is over or, `once`, all of them are done.

    Each is called with its number and has `each` connections at most; there are fewer where this process may not open
    so many. An OSError or EOFError ends a client that does not see to it itself. Raises FaultRefused where the target's
    address is of no use.
    """
    subject = hold.subject
    key = os.environ.get(subject.key_env, "") if subject.key_env else ""
    try:
        target = parse_target(subject.url, key, subject.road)
    except TargetError as error:
        raise FaultRefused(str(error)) from error
    os.nice(_NICER)
    files = _files_left()
    shared_by = partial(Crowd, target, subject.model, hold.order.seed, min(clients * each, files))
    asyncio.run(_run(hold, shared_by, [client] * min(clients, files), once))


async def _run(hold: Hold, shared_by: Callable[[], Crowd], clients: list[Client], once: bool) -> None:
    shared = shared_by()
    shared.tally.clients = len(clients)
    over = asyncio.Event()

    def look() -> None:
        if hold.wait(0.0):
            over.set()

    loop = asyncio.get_running_loop()
    for descriptor in hold.watched:
        loop.add_reader(descriptor, look)
    hold.begun()
    if hold.left_s < float("inf"):
        loop.call_later(hold.left_s + 0.001, look)
    work = [asyncio.create_task(_alone(client, shared, number)) for number, client in enumerate(clients)]
    waiting = asyncio.create_task(over.wait())
    done = asyncio.gather(*work)  # at the first bug, too
    try:
        await asyncio.wait((waiting, done), return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            done.result()
        if not once:
            await waiting
    finally:
        for descriptor in hold.watched:
            loop.remove_reader(descriptor)
        for task in (waiting, *work):
            task.cancel()
        await asyncio.gather(waiting, done, *work, return_exceptions=True)
        hold.facts |= shared.tally.facts()


async def _alone(client: Client, shared: Crowd, number: int) -> None:
    with suppress(OSError, EOFError):
        await client(shared, number)


def _files_left() -> int:
    """Connections that this process may open, its limit raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(1, soft - _SPARE_FILES)
