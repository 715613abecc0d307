"""The proxy's process as the runner sees it: started, spoken to, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
from typing import IO, Self

from scenarios.errors import HarnessError, TargetError
from scenarios.faults.proxy.messages import FromProxy, InForce, Lines, Over, Ready, Refused, Setup, ToProxy, line
from scenarios.load.worker_process import worker_environment

_START_TIMEOUT_S = 30.0
_EXIT_TIMEOUT_S = 2.0
_READ_BYTES = 64 << 10
_LAST_BYTES = 2_000

News = asyncio.Queue[InForce | Refused | Over | None]  # None: the process has died


class ProxyProcess:
    """Its two ends: a channel for messages, and what it said on stderr, which is nothing unless it fails."""

    def __init__(self, process: asyncio.subprocess.Process, stderr: IO[bytes]) -> None:
        self._process = process
        self._stderr = stderr
        self._writer: asyncio.StreamWriter | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Ready | None] = asyncio.get_running_loop().create_future()
        self._listeners: dict[int, News] = {}
        self._dead = False

    @classmethod
    async def spawn(cls) -> Self:
        """Raises HarnessError where the system does not start it."""
        ours, theirs = socket.socketpair()
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # -P: not the user's directory
        command = (sys.executable, "-P", "-m", "scenarios.faults.proxy", str(theirs.fileno()))
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                env=worker_environment(),
                start_new_session=True,  # the terminal's signals are for the runner
            )
        except BaseException as error:
            ours.close()
            stderr.close()
            if isinstance(error, OSError):
                raise HarnessError(f"the fault proxy cannot be started: {error}") from error
            raise
        finally:
            theirs.close()
        new = cls(process, stderr)
        reader, new._writer = await asyncio.open_connection(sock=ours)
        new._hearing = asyncio.create_task(new._hear(reader))
        return new

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read()[-_LAST_BYTES:].decode("utf-8", "replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    async def set_up(self, setup: Setup) -> Ready:
        """Raises TargetError where the target cannot be used, HarnessError where the process fails."""
        self.send(setup)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                ready = await self._ready
        except TimeoutError as error:
            raise HarnessError(f"the fault proxy was not ready within {_START_TIMEOUT_S:g} s") from error
        if ready is None:
            raise HarnessError(f"the fault proxy ended before it was ready: {self.last_words}")
        if ready.problem:
            raise TargetError(ready.problem)
        return ready

    async def ended(self) -> str:
        """Return, saying how, once it has ended."""
        return f"its process ended with {await self._process.wait()}; {self.last_words}"

    def send(self, message: ToProxy) -> None:
        if self._writer is not None and not self._dead:
            self._writer.write(line(message))

    def listen(self, number: int) -> News:
        """What it says of the fault of that number from now on, until `forget`."""
        news = self._listeners[number] = asyncio.Queue()
        if self._dead:
            news.put_nowait(None)
        return news

    def forget(self, number: int) -> None:
        self._listeners.pop(number, None)

    async def close(self) -> None:
        """Close its channel, at which it ends; kill it where it does not."""
        if self._writer is not None:
            self._writer.transport.abort()
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._hearing is not None:
            await self._hearing
        self._stderr.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        lines = Lines(FromProxy)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_READ_BYTES):
                for message in lines.feed(data):
                    self._take(message)
        self._dead = True
        if not self._ready.done():
            self._ready.set_result(None)
        for news in self._listeners.values():
            news.put_nowait(None)

    def _take(self, message: FromProxy) -> None:
        match message:
            case Ready() if not self._ready.done():
                self._ready.set_result(message)
            case InForce(number) | Refused(number):
                self._tell(number, message)
            case Over(ended):
                self._tell(ended.number, message)

    def _tell(self, number: int, message: InForce | Refused | Over) -> None:
        if number in self._listeners:
            self._listeners[number].put_nowait(message)
