"""The runner's side of faults that are held: it starts the guardian, hands it orders and hears how they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from scenarios.errors import HarnessError
from scenarios.faults.holder.child import told
from scenarios.faults.holder.guardian import ENDING_S
from scenarios.faults.holder.messages import (
    Begun,
    End,
    Hold,
    Lines,
    Message,
    Over,
    Pids,
    Refused,
    Setup,
    ToUndo,
    Undo,
    Up,
    pack,
)
from scenarios.faults.holder.subject import Subject
from scenarios.faults.holder.undos import undo_all
from scenarios.faults.injector import Ended, FaultRefused, Order

_ROOT = str(Path(__file__).resolve().parents[3])  # where the packages lie, installed or not
_UP_TIMEOUT_S = 20.0
_GONE_TIMEOUT_S = ENDING_S + 2.0
_PIDS_S = 0.1
_READ_BYTES = 65_536


class HolderInjector:
    """Brings faults about through a guardian process, which undoes them also when this process is killed.

    A guardian that is killed takes no fault with it: its holders undo theirs, and the next order starts another one.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._guardian: _Guardian | None = None
        self._starting = asyncio.Lock()

    @classmethod
    async def start(cls, subject: Subject) -> HolderInjector:
        """Start the guardian, ahead of any fault: under load a process takes its time to come up.

        Raises:
            HarnessError: it cannot be started.
        """
        injector = cls(subject)
        await injector._ready()
        return injector

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """See Injector.hold. The target's processes are asked for here; `order.pids` need not be filled."""
        try:
            guardian = await self._ready()
        except HarnessError as error:
            raise FaultRefused(f"{order.kind}: {error}") from error
        return await guardian.hold(msgspec.structs.replace(order, pids=dict(self._subject.pids())), on)

    async def close(self) -> None:
        """Undo what is still in force and end the guardian."""
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            await guardian.close()

    async def _ready(self) -> _Guardian:
        async with self._starting:
            if self._guardian is not None and self._guardian.gone.done():
                await self._guardian.close()
                self._guardian = None
            if self._guardian is None:
                self._guardian = await _Guardian.start(self._subject)
            return self._guardian


class _Held:
    """One fault that was ordered: when it is in force, and how it ended."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.undos: list[Undo] = []

    def refuse(self, why: str) -> None:
        self.begun.set_exception(FaultRefused(why))
        self.begun.exception()  # seen, should nobody wait for it any more
        self.ended.cancel()


class _Guardian:
    """A guardian process and the ends of the three lines to it: socket, lifeline and tail."""

    def __init__(self, subject: Subject, process: asyncio.subprocess.Process, lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        self.up: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()  # the process, and every holder it has had
        self._subject = subject
        self._process = process
        self._lifeline = lifeline
        self._held: dict[int, _Held] = {}
        self._lines = Lines()
        self._writer: asyncio.StreamWriter
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(cls, subject: Subject) -> _Guardian:
        ours, theirs = socket.socketpair()
        lifeline_read, lifeline = os.pipe()
        tail, tail_write = os.pipe()
        descriptors = (theirs.fileno(), lifeline_read, tail_write)
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH", ""))))
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "scenarios.faults.holder", *map(str, descriptors)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # the terminal's signals, and its end, are for the runner
            )
        except OSError as error:
            ours.close()
            os.close(lifeline)
            os.close(tail)
            raise HarnessError(f"the process that holds faults cannot be started ({error.strerror})") from error
        finally:
            theirs.close()
            os.close(lifeline_read)
            os.close(tail_write)
        guardian = cls(subject, process, lifeline)
        reader, guardian._writer = await asyncio.open_unix_connection(sock=ours)
        guardian._say(Setup(subject.facts()))
        guardian._tasks = [
            asyncio.create_task(guardian._listen(reader), name="guardian"),
            asyncio.create_task(guardian._await_end(tail), name="guardian-tail"),
            asyncio.create_task(guardian._tell_pids(), name="guardian-pids"),
        ]
        try:
            async with asyncio.timeout(_UP_TIMEOUT_S):
                await asyncio.wait((guardian.up, guardian.gone), return_when=asyncio.FIRST_COMPLETED)
        except BaseException as error:
            await guardian.close()
            if isinstance(error, TimeoutError):
                raise HarnessError(f"the process that holds faults is not up after {_UP_TIMEOUT_S:g} s") from error
            raise
        if not guardian.up.done():
            await guardian.close()
            raise HarnessError("the process that holds faults ended as soon as it was started")
        return guardian

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        held = self._held[order.number] = _Held()
        self._say(Hold(order))
        try:
            await asyncio.shield(held.begun)
            on()
            return await asyncio.shield(held.ended)
        finally:
            if not held.ended.done():
                self._say(End(order.number))
                await _whatever_comes(held.ended, _GONE_TIMEOUT_S)
            del self._held[order.number]
            for future in (held.begun, held.ended):
                future.cancel()

    async def close(self) -> None:
        """End it: by the end of its socket, by that of the lifeline if it should not listen, and at last by force."""
        self._writer.close()
        os.close(self._lifeline)
        await _whatever_comes(self.gone, _GONE_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _say(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(pack(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(_READ_BYTES):
                for message in self._lines.feed(data):
                    self._hear(message)

    def _hear(self, message: Message) -> None:
        match message:
            case Up():
                self.up.set_result(None)
            case ToUndo(number, undo) if held := self._held.get(number):
                held.undos.append(undo)
            case Begun(number) if held := self._held.get(number):
                held.begun.set_result(None)
            case Refused(number, why) if held := self._held.get(number):
                held.refuse(why)
            case Over(ended) if held := self._held.get(ended.number):
                held.ended.set_result(ended)

    async def _await_end(self, tail: int) -> None:
        """The pipe's end is there when guardian and holders have all gone, and a holder goes once it has undone."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(tail, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(tail)
            os.close(tail)
        await asyncio.wait(self._tasks[:1], timeout=1.0)  # what it has said before comes first
        self.gone.set_result(None)
        why = "the process that holds faults was killed"
        for number, held in self._held.items():
            if not held.ended.done():  # its holder has undone it, unless it was killed as well
                match told(number, held.begun.done(), why, undo_all(held.undos), {}):
                    case Over(ended_so):
                        held.ended.set_result(ended_so)
                    case Refused(_, why_not):
                        held.refuse(why_not)

    async def _tell_pids(self) -> None:
        told: dict[str, int] = {}
        while True:
            await asyncio.sleep(_PIDS_S)
            if self._held and (now := dict(self._subject.pids())) != told:
                told = now
                self._say(Pids(now))


async def _whatever_comes(future: asyncio.Future[Ended] | asyncio.Future[None], within_s: float) -> None:
    """Wait until it is done, also where the waiting task is cancelled meanwhile: undoing is not to be cut short."""
    loop = asyncio.get_running_loop()
    by_s = loop.time() + within_s
    cancelled = False
    while not future.done() and loop.time() < by_s:
        try:
            await asyncio.wait((future,), timeout=by_s - loop.time())
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
