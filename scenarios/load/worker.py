"""A load worker: a process of its own, so that nothing else delays a send or a stamp.

Run as `python -m scenarios.load.worker FD`, where FD is the inherited end of the pool's socket pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections import deque

from scenarios.errors import TargetError
from scenarios.load.answer import Reading
from scenarios.load.client import Client
from scenarios.load.exchange import Exchange, Job
from scenarios.load.health import SelfWatch
from scenarios.load.messages import (
    Channel,
    Finished,
    Progress,
    Ready,
    Requests,
    Setup,
    Start,
    Stop,
    ToWorker,
)
from scenarios.load.priority import ask_for_short_turns
from scenarios.load.schedule import Schedule
from scenarios.load.target import Target, parse_target, wire_bytes
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest

_REPORT_S = 0.05
_BATCH = 16  # observations that make a report worth sending before its time
_DECODE_NS = 200_000  # decoding done in one turn of the loop


def job_of(request: PlannedRequest, target: Target) -> Job:
    """The request as bytes and settings; one that cannot be written becomes a job with a defect, not an exception."""
    try:
        wire, defect = wire_bytes(request, target), ""
    except ValueError as error:
        wire, defect = b"", str(error)
    raw = bool(request.raw)
    return Job(
        index=request.index,
        due_ns=request.due_ns,
        wire=wire,
        timeout_s=request.timeout_s,
        stream=request.stream,
        raw=raw,
        head=wire.startswith(b"HEAD "),
        contract=request.method == "POST" and not raw,
        raw_chunks_s=request.raw_chunks_s,
        hang_up_after_s=request.hang_up_after_s,
        hang_up_after_events=request.hang_up_after_events,
        read_bytes_per_s=request.read_bytes_per_s,
        defect=defect,
    )


class Worker:
    """Takes a plan, sends it on time, reports one Observation for each request, whatever happens."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()
        self.channel = Channel(ToWorker, self._hear, self.closed.set)
        self._number = 0
        self._target: Target | None = None
        self._jobs: list[Job] = []
        self._connections = 0
        self._client: Client | None = None
        self._schedule: Schedule | None = None
        self._unreported: set[int] = set()
        self._due_ns: dict[int, int] = {}
        self._t0_ns = 0
        self._stop_at: asyncio.TimerHandle | None = None
        self._stopping = False
        self._readings: deque[Reading] = deque()
        self._sent: list[tuple[int, int]] = []
        self._observations: list[Observation] = []
        self._watch = SelfWatch(self._loop)
        self._finished = False

    # ---- what the pool says

    def _hear(self, message: ToWorker) -> None:
        match message:
            case Setup():
                self._set_up(message)
            case Requests() if self._target is not None:
                self._jobs += [job_of(request, self._target) for request in message.requests]
                if message.last:
                    self._be_ready()
            case Start():
                self._start(message.t0_ns)
            case Stop():
                self._stop(message.grace_s)

    def _set_up(self, setup: Setup) -> None:
        self._number = setup.worker
        self._connections = min(setup.connections, _raise_file_limit() - 64)
        try:
            self._target = parse_target(setup.base_url, os.environ.pop(setup.api_key_env, ""), setup.road)
        except TargetError as error:
            self.channel.send(Ready(str(error)))

    def _be_ready(self) -> None:
        assert self._target is not None
        self._due_ns = {job.index: job.due_ns for job in self._jobs}
        self._unreported = set(self._due_ns)
        self._client = Client(self._target, self._connections, self._note_sent, self._note_end)
        self._schedule = Schedule(self._jobs, self._client.send, self._client.sockets)
        self._jobs = []
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 10_000)  # short young collections, no old ones: a run is short, its pauses are not
        self.channel.send(Ready())

    def _start(self, t0_ns: int) -> None:
        if self._schedule is None or self._stopping:
            return
        self._t0_ns = t0_ns
        self._schedule.start(t0_ns)
        self._watch.start()
        self._report_later()

    def _stop(self, grace_s: float) -> None:
        if self._schedule is None or self._client is None:
            return
        self._stopping = True
        now_ns = time.monotonic_ns() - self._t0_ns if self._t0_ns else 0
        self._observations += [
            Observation(
                index=job.index,
                due_ns=job.due_ns,
                outcome=Outcome.UNSENT,
                end_ns=now_ns,
                error="the run was stopped before it was due",
                worker=self._number,
            )
            for job in self._schedule.stop()
        ]
        self._client.drop_unsent("the run was stopped")
        if self._stop_at is not None:
            self._stop_at.cancel()
        self._stop_at = self._loop.call_later(max(0.0, grace_s), self._client.stop, "the run was stopped")
        self._report()

    # ---- what the client says

    def _note_sent(self, exchange: Exchange) -> None:
        assert exchange.sent_ns is not None
        self._sent.append((exchange.job.index, exchange.sent_ns - self._t0_ns))

    def _note_end(self, exchange: Exchange) -> None:
        reading = Reading(
            exchange, self._t0_ns or exchange.end_ns, self._number, self._target.secrets if self._target else ()
        )
        self._readings.append(reading)
        if len(self._readings) == 1:
            self._loop.call_soon(self._read_some)

    def _read_some(self) -> None:
        """Decode for one short turn; the sockets come between two turns."""
        sockets = self._client.sockets if self._client is not None else None
        deadline_ns = time.monotonic_ns() + (sockets.spare_ns(_DECODE_NS) if sockets is not None else _DECODE_NS)
        while self._readings and (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            try:
                observation = self._readings[0].step(left_ns)
            except Exception as error:  # noqa: BLE001 - it still gets its observation
                observation = self._readings[0].failed(f"the load worker failed: {type(error).__name__}: {error}")
            if observation is not None:
                self._readings.popleft()
                self._observations.append(observation)
        if self._readings:
            self._loop.call_soon(self._read_some)
        if len(self._observations) >= _BATCH or not self._work_left:
            self._report()

    # ---- reporting

    @property
    def _work_left(self) -> bool:
        """Something can still produce an observation."""
        return bool(self._schedule) or bool(self._client and self._client.in_flight) or bool(self._readings)

    def _report_later(self) -> None:
        if not self._finished:
            self._loop.call_later(_REPORT_S, self._report_later)
            self._report()

    def _report(self) -> None:
        if self._finished or self._client is None:
            return
        done = not self._work_left
        if done:
            self._account_for_the_rest()
            self._watch.close()
        observations, self._observations = self._observations, []
        sent, self._sent = self._sent, []
        self._unreported.difference_update(observation.index for observation in observations)
        self.channel.send(
            Progress(
                tuple(sent),
                tuple(observations),
                self._client.in_flight,
                self._client.send_lag.take(),
                self._watch.lag.take(),
                self._watch.health(),
            )
        )
        if done:
            self._finished = True
            self._client.close()
            self.channel.send(Finished())

    def _account_for_the_rest(self) -> None:
        """Nothing is under way: a request without an observation is our own fault, and gets one that says so."""
        seen = {observation.index for observation in self._observations}
        for index in self._unreported - seen:
            lost = Observation(
                index=index,
                due_ns=self._due_ns[index],
                outcome=Outcome.CANCELLED,
                end_ns=time.monotonic_ns() - self._t0_ns if self._t0_ns else 0,
                error="the load worker lost this request",
                worker=self._number,
            )
            self._observations.append(lost)


def _raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns what it is now."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 512
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(ValueError, OSError):  # macOS refuses more than its kernel allows
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def serve(control: socket.socket) -> None:
    """Do what the pool says over `control` until it closes."""
    worker = Worker()
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: worker.channel, sock=control)
    await worker.closed.wait()
    os._exit(0)  # the pool is gone or done with us: nothing here is worth an orderly end


def main() -> None:
    """Entry point; the only argument is the inherited socket's descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to answer: it stops us in good order
    ask_for_short_turns()
    control = socket.socket(fileno=int(sys.argv[1]))
    # asyncio's own loop: uvloop took as much CPU for each event (12 us), writes late in its turn and rounds its timers
    asyncio.run(serve(control))


if __name__ == "__main__":
    main()
