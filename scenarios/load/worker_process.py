"""One load worker as the pool sees it: its process, its channel, and what it still owes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from scenarios.address import Road
from scenarios.errors import HarnessError, TargetError
from scenarios.load.health import Health
from scenarios.load.lag import LagHistogram
from scenarios.load.messages import (
    Channel,
    Finished,
    FromWorker,
    Progress,
    Ready,
    Requests,
    Setup,
    Start,
    Stop,
)
from scenarios.observation import Observation
from scenarios.request import PlannedRequest

_ROOT = str(Path(__file__).resolve().parents[2])  # where the packages lie, installed or not
_KEY_ENV = "SEATRIAL_LOAD_API_KEY"
_PART_BYTES = 1 << 20
_EXIT_TIMEOUT_S = 2.0
_STDERR_BYTES = 2_000


def worker_environment() -> dict[str, str]:
    """This process's environment, and these packages where a child finds them, installed or not."""
    path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


class Owner(Protocol):
    """Who is told what the worker did."""

    def take(self, observations: Sequence[Observation], progress: Progress) -> None:
        """Observations of requests that were open until now, and the report they came in."""

    def owed(self, number: int, open_requests: dict[int, int], sent_ns: dict[int, int]) -> None:
        """It is over, and these (index to due time) have no observation; `sent_ns` of those known to be sent."""

    def worker_died(self, what: str) -> None:
        """It ended, or had to be ended, before it was done."""


class WorkerProcess:
    """Starts the worker, talks to it, and sees to it that it leaves nothing unaccounted for, however it ends."""

    def __init__(self, owner: Owner, number: int, requests: tuple[PlannedRequest, ...], connections: int) -> None:
        self.in_flight = 0
        self.loop_lag = LagHistogram()
        self.health = Health()
        self.over = asyncio.Event()  # it owes nothing any more
        self._owner = owner
        self._number = number
        self._connections = connections
        self._requests = requests
        self._open = {request.index: request.due_ns for request in requests}
        self._sent_ns: dict[int, int] = {}
        self._channel = Channel(FromWorker, self._hear, self._lost)
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = b""
        self._listening: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def prepare(self, base_url: str, road: Road, api_key: str) -> None:
        ours, theirs = socket.socketpair()
        try:
            await self._spawn(theirs.fileno(), api_key)
        except OSError as error:
            ours.close()
            raise HarnessError(f"load worker {self._number} cannot be started: {error}") from error
        except asyncio.CancelledError:
            ours.close()
            raise
        finally:
            theirs.close()
        await asyncio.get_running_loop().create_unix_connection(lambda: self._channel, sock=ours)
        self.send(Setup(self._number, base_url, road, _KEY_ENV, self._connections))
        await self._send_plan()
        try:
            problem = await self._ready
        except EOFError as error:
            await self._all_said()
            why = self._last_words
            raise HarnessError(f"load worker {self._number} ended before it was ready: {why}") from error
        if problem:
            raise TargetError(problem)

    async def _all_said(self) -> None:
        """Its stderr to the end, now that it is gone."""
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=_EXIT_TIMEOUT_S)

    async def _spawn(self, descriptor: int, api_key: str) -> None:
        command = (sys.executable, "-P", "-m", "scenarios.load.worker", str(descriptor))  # -P: not the user's directory
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            env={**worker_environment(), _KEY_ENV: api_key},
            start_new_session=True,  # the terminal's signals are for the runner
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of what the worker says on stderr: nothing, unless it is failing."""
        assert process.stderr is not None
        while piece := await process.stderr.read(_STDERR_BYTES):
            self._stderr = (self._stderr + piece)[-_STDERR_BYTES:]

    async def _send_plan(self) -> None:
        """The plan in parts of about a megabyte, only the fields that sending needs."""
        part: list[PlannedRequest] = []
        size = 0
        for request in self._requests:
            part.append(_lean(request))
            size += len(request.body) + len(request.raw)
            if size >= _PART_BYTES:
                self.send(Requests(tuple(part), last=False))
                part, size = [], 0
                await self._channel.drained()
        self.send(Requests(tuple(part), last=True))
        self._requests = ()

    def send(self, message: Start | Setup | Requests | Stop) -> None:
        self._channel.send(message)

    def stop(self, grace_s: float) -> None:
        if self._ready.done() and not self.over.is_set():
            self.send(Stop(grace_s))
        else:
            self._bury()  # it never got its plan: nothing can be under way

    def give_up(self, why: str) -> None:
        if not self.over.is_set():
            self._owner.worker_died(f"load worker {self._number} was killed: {why}")
            self._kill()
            self._bury()

    def _hear(self, message: FromWorker) -> None:
        match message:
            case Ready() if not self._ready.done():
                self._ready.set_result(message.problem)
            case Progress():
                self._take_progress(message)
            case Finished() if not self.over.is_set():
                self.in_flight = 0
                self._bury()

    def _take_progress(self, progress: Progress) -> None:
        if self.over.is_set():
            return
        self.in_flight = progress.in_flight
        self.loop_lag.merge(progress.loop_lag)
        self.health = progress.health
        self._sent_ns.update(progress.sent)
        observations = [one for one in progress.observations if self._open.pop(one.index, None) is not None]
        for observation in observations:
            self._sent_ns.pop(observation.index, None)
        self._owner.take(observations, progress)

    def _lost(self) -> None:
        """Its channel is closed: unless we closed it, the worker is dead."""
        if not self._ready.done():
            self._ready.set_exception(EOFError())
            self._ready.exception()  # retrieved here, in case nobody waits for it any more
        elif not self.over.is_set() and not self._closing:
            self._owner.worker_died(f"load worker {self._number} died: {self._last_words}")
        self._bury()

    @property
    def _last_words(self) -> str:
        said = self._stderr.decode("utf-8", "replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    def _bury(self) -> None:
        """Account for whatever it still owes."""
        if self.over.is_set():
            return
        self.over.set()
        self.in_flight = 0
        open_requests, self._open = self._open, {}
        self._owner.owed(self._number, open_requests, self._sent_ns)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        self._closing = True
        self._channel.close()
        self._bury()
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT_S)
        except TimeoutError:
            self._kill()
            await self._process.wait()
        if self._listening is not None:
            await self._listening


def _lean(request: PlannedRequest) -> PlannedRequest:
    """What a worker needs of a request; the rest stays with the runner."""
    return PlannedRequest(
        index=request.index,
        due_ns=request.due_ns,
        path=request.path,
        body=request.body,
        headers=request.headers,
        method=request.method,
        stream=request.stream,
        timeout_s=request.timeout_s,
        raw=request.raw,
        raw_chunks_s=request.raw_chunks_s,
        hang_up_after_s=request.hang_up_after_s,
        hang_up_after_events=request.hang_up_after_events,
        read_bytes_per_s=request.read_bytes_per_s,
    )
