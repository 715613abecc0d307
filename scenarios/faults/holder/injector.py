"""The runner's side of faults that are held: it starts the guardian, hands it orders and hears how they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    Parts,
    Refused,
    Setup,
    ToUndo,
    Undo,
    Up,
    pack,
)
from scenarios.faults.holder.process import Process, find
from scenarios.faults.holder.subject import Subject
from scenarios.faults.holder.undos import undo_all
from scenarios.faults.injector import Ended, FaultRefused, Order

_ROOT = str(Path(__file__).resolve().parents[3])  # where the packages lie, installed or not
_UP_TIMEOUT_S = 20.0
_GONE_TIMEOUT_S = ENDING_S + 2.0
_EXIT_TIMEOUT_S = 2.0
_PARTS_S = 0.1
_READ_BYTES = 65_536
_GONE = "the process that holds faults was killed"


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


class HolderInjector:
    """Brings faults about through a guardian process, which undoes them also when this process is killed.

    Three lines lead to it: a socket, the lifeline, and the tail, whose end says that it and all its holders are gone.
    """

    def __init__(self, subject: Subject, process: asyncio.subprocess.Process, lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        self._up: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()  # the process, and every holder it has had
        self._subject = subject
        self._process = process
        self._lifeline = lifeline
        self._held: dict[int, _Held] = {}
        self._lines = Lines()
        self._writer: asyncio.StreamWriter
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(cls, subject: Subject) -> HolderInjector:
        """Start the guardian, ahead of any fault: under load a process takes its time to come up.

        Raises:
            HarnessError: it cannot be started.
        """
        try:
            ours, theirs = socket.socketpair()
            lifeline_read, lifeline = os.pipe()
            tail, tail_write = os.pipe()
        except OSError as error:
            raise HarnessError(f"the process that holds faults cannot be started ({error.strerror})") from error
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
        injector = cls(subject, process, lifeline)
        reader, injector._writer = await asyncio.open_unix_connection(sock=ours)
        injector._say(Setup(subject.facts()))
        injector._tasks = [
            asyncio.create_task(injector._listen(reader), name="guardian"),
            asyncio.create_task(injector._await_end(tail), name="guardian-tail"),
            asyncio.create_task(injector._tell_parts(), name="guardian-parts"),
        ]
        try:
            async with asyncio.timeout(_UP_TIMEOUT_S):
                await asyncio.wait((injector._up, injector._gone), return_when=asyncio.FIRST_COMPLETED)
        except BaseException as error:
            await injector.close()
            if isinstance(error, TimeoutError):
                raise HarnessError(f"the process that holds faults is not up after {_UP_TIMEOUT_S:g} s") from error
            raise
        if not injector._up.done():
            await injector.close()
            raise HarnessError("the process that holds faults ended as soon as it was started")
        return injector

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """See Injector.hold."""
        if self._gone.done():
            raise FaultRefused(f"{order.kind}: {_GONE}")
        held = self._held[order.number] = _Held()
        self._say(Hold(order, self._parts()))
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

    def end(self, number: int) -> None:
        """See Injector.end."""
        self._say(End(number))

    async def died(self) -> str:
        """Returns, with how, when the guardian has ended unasked; faults that were in force are undone by then."""
        await asyncio.shield(self._gone)
        return _GONE

    async def close(self) -> None:
        """Undo what is still in force and end the guardian: it is told so by the end of its socket and the lifeline."""
        for number in reversed(self._held):  # one that waits for another does not get its turn now
            self._say(End(number))
        for held in list(self._held.values()):
            await _whatever_comes(held.ended, _GONE_TIMEOUT_S)
        self._writer.close()
        os.close(self._lifeline)
        ending = asyncio.create_task(self._process.wait())
        await _whatever_comes(self._gone, _GONE_TIMEOUT_S)
        await _whatever_comes(ending, _EXIT_TIMEOUT_S)
        if not ending.done():
            self._process.kill()
            await ending
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
                self._up.set_result(None)
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
        self._gone.set_result(None)
        for number, held in self._held.items():
            if not held.ended.done():  # its holder has undone it, unless it was killed as well
                match told(number, held.begun.done(), _GONE, undo_all(held.undos), {}):
                    case Over(ended_so):
                        held.ended.set_result(ended_so)
                    case Refused(_, why_not):
                        held.refuse(why_not)

    async def _tell_parts(self) -> None:
        known: dict[str, Process] = {}
        while True:
            await asyncio.sleep(_PARTS_S)
            if self._held and (now := self._parts()) != known:
                known = now
                self._say(Parts(now))

    def _parts(self) -> dict[str, Process]:
        """Known by more than their numbers from here on: what comes to one of them later is never touched."""
        found = {part: find(pid) for part, pid in self._subject.pids().items()}
        return {part: process for part, process in found.items() if process is not None}


async def _whatever_comes(future: asyncio.Future[Any], within_s: float) -> None:
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
