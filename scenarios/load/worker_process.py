"""One load worker as the pool sees it: its process, its channel, what it is fed and what it still owes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scenarios.address import Road
from scenarios.arrivals import Ints
from scenarios.errors import HarnessError, TargetError
from scenarios.load.exchange import Job
from scenarios.load.feed import Feed
from scenarios.load.health import Health
from scenarios.load.lag import LagHistogram
from scenarios.load.ledger import HowItEnded, Ledger
from scenarios.load.messages import Channel, Finished, FromWorker, Jobs, Prepare, Progress, Ready, Setup, Start, Stop
from scenarios.observation import Observation

_ROOT = str(Path(__file__).resolve().parents[2])  # where the packages lie, installed or not
_KEY_ENV = "SEATRIAL_LOAD_API_KEY"
_TURN_BYTES = 256 << 10
_AHEAD_NS = 10_000_000_000  # the worker has what is due within so long, as far as its window goes
_REFILL_S = 0.1
_SLICE_NS = 1_000_000  # jobs are made for so long before the rest of the runner gets a turn
_FRAME_JOBS = 32
_FRAME_BYTES = 16 << 10
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

    def worker_over(self, worker: WorkerProcess) -> None:
        """It will report nothing more; `owed` is what it leaves."""

    def worker_died(self, what: str) -> None:
        """It ended, or had to be ended, before it was done."""

    def feeding_failed(self, error: BaseException) -> None:
        """A request of the plan could not be made."""


class WorkerProcess:
    """Starts the worker, keeps it fed and listens to it, and knows what it owes, however it ends."""

    def __init__(
        self,
        owner: Owner,
        number: int,
        feed: Feed,
        make_job: Callable[[int, bool], Job],
        planned: int,
        connections: int,
    ) -> None:
        self._number = number
        self.in_flight = 0
        self.loop_lag = LagHistogram()
        self.health = Health()
        self.over = asyncio.Event()  # it will report nothing more
        self._ledger = Ledger()
        self._owner = owner
        self._feed = feed
        self._make_job = make_job
        self._planned = planned
        self._connections = connections
        self._t0_ns: int | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._hungry = asyncio.Event()
        self._channel = Channel(FromWorker, self._hear, self._lost, _TURN_BYTES)
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = b""
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False
        self._closing = False
        self._how = HowItEnded.DIED

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    # ---- starting

    async def prepare(self, base_url: str, road: Road, api_keys: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        names = {tenant: f"{_KEY_ENV}_{number}" for number, tenant in enumerate(api_keys)}
        try:
            await self._spawn(theirs.fileno(), {names[tenant]: key for tenant, key in api_keys.items()})
        except OSError as error:
            ours.close()
            raise HarnessError(f"load worker {self._number} cannot be started: {error}") from error
        except asyncio.CancelledError:
            ours.close()
            raise
        finally:
            theirs.close()
        await asyncio.get_running_loop().create_unix_connection(lambda: self._channel, sock=ours)
        self._channel.send(Setup(self._number, base_url, road, names, self._connections, self._planned))
        await self._fill_window()
        self._channel.send(Prepare())
        try:
            problem = await self._ready
        except EOFError as error:
            await self._all_said()
            why = self._last_words
            raise HarnessError(f"load worker {self._number} ended before it was ready: {why}") from error
        if problem:
            raise TargetError(problem)
        self._feeding = asyncio.create_task(self._keep_fed())

    async def _all_said(self) -> None:
        """Its stderr to the end, now that it is gone."""
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=_EXIT_TIMEOUT_S)

    async def _spawn(self, descriptor: int, keys: Mapping[str, str]) -> None:
        command = (sys.executable, "-P", "-m", "scenarios.load.worker", str(descriptor))  # -P: not the user's directory
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            env={**worker_environment(), **keys},
            start_new_session=True,  # the terminal's signals are for the runner
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of what the worker says on stderr: nothing, unless it is failing."""
        assert process.stderr is not None
        while piece := await process.stderr.read(_STDERR_BYTES):
            self._stderr = (self._stderr + piece)[-_STDERR_BYTES:]

    def start(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        self._channel.send(Start(t0_ns))

    # ---- feeding

    async def _keep_fed(self) -> None:
        try:
            while not self._feed.exhausted:
                self._hungry.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hungry.wait(), _REFILL_S)
                await self._fill_window()
        except Exception as error:  # noqa: BLE001 - whatever a plan may raise ends the run, from the pool's side
            self._owner.feeding_failed(error)

    async def _fill_window(self) -> None:
        """Hand over what comes due within the window, in small frames, so that neither side is held up by one."""
        now_ns = 0 if self._t0_ns is None else time.monotonic_ns() - self._t0_ns
        until_ns = now_ns + _AHEAD_NS
        jobs: list[Job] = []
        size = 0
        slice_end_ns = time.monotonic_ns() + _SLICE_NS
        while (room := self._ledger.room) > 0 and (index := self._feed.next(until_ns, room)) is not None:
            job = self._make_job(index, self._feed.followed(index))
            self._ledger.hand(job)
            jobs.append(job)
            size += len(job.wire)
            if len(jobs) == _FRAME_JOBS or size >= _FRAME_BYTES:
                self._channel.send(Jobs(tuple(jobs)))
                jobs, size = [], 0
                await self._channel.drained()
            if time.monotonic_ns() > slice_end_ns:
                await asyncio.sleep(0)
                slice_end_ns = time.monotonic_ns() + _SLICE_NS
        if jobs or self._feed.exhausted:
            self._channel.send(Jobs(tuple(jobs), self._feed.exhausted))

    # ---- listening

    def _hear(self, message: FromWorker) -> None:
        match message:
            case Progress():
                self._take_progress(message)
            case Ready() if not self._ready.done():
                self._ready.set_result(message.problem)
            case Finished():
                self._how = HowItEnded.STOPPED if self._stopping else HowItEnded.LOST
                self._end()

    def _take_progress(self, progress: Progress) -> None:
        if self.over.is_set():
            return
        self.in_flight = progress.in_flight
        self.loop_lag.merge(progress.loop_lag)
        self.health = progress.health
        for index in progress.begun:
            self._ledger.begun(index)
        for index, sent_ns in progress.sent:
            self._ledger.sent(index, sent_ns)
        observations = [one for one in progress.observations if self._ledger.over(one.index)]
        for observation in observations:
            self._feed.over(observation.index)
        self._hungry.set()
        self._owner.take(observations, progress)

    def _lost(self) -> None:
        """Its channel is closed: unless we closed it, the worker is dead."""
        if not self._ready.done():
            self._ready.set_exception(EOFError())
            self._ready.exception()  # retrieved here, in case nobody waits for it any more
        elif not self.over.is_set() and not self._closing:
            self._owner.worker_died(f"load worker {self._number} died: {self._last_words}")
        self._end()

    @property
    def _last_words(self) -> str:
        said = self._stderr.decode("utf-8", "replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    # ---- ending

    def stop(self, grace_s: float) -> None:
        self._stopping = True
        if self._feeding is not None:
            self._feeding.cancel()
        if self._ready.done() and not self.over.is_set():
            self._channel.send(Stop(grace_s))
        else:  # it was not ready: nothing can be under way
            self._how = HowItEnded.STOPPED
            self._end()

    def give_up(self, why: str) -> None:
        if not self.over.is_set():
            self._owner.worker_died(f"load worker {self._number} was killed: {why}")
            self._kill()
            self._end()

    def owed(self, due_ns: Ints, now_ns: int | None) -> Iterator[Observation]:
        """One for each request that it has not reported, now that it reports no more."""
        return self._ledger.owed(self._number, self._feed.rest(), due_ns, self._how, now_ns)

    def _end(self) -> None:
        if self.over.is_set():
            return
        self.over.set()
        self.in_flight = 0
        if self._feeding is not None:
            self._feeding.cancel()
        self._owner.worker_over(self)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        self._closing = True
        self._channel.close()
        self._end()
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT_S)
        except TimeoutError:
            self._kill()
            await self._process.wait()
        if self._listening is not None:
            await self._listening
