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
from collections.abc import Mapping

from scenarios.errors import TargetError
from scenarios.load.answer import Reading, to_hide
from scenarios.load.chains import Chains
from scenarios.load.client import Client
from scenarios.load.exchange import Exchange, Job
from scenarios.load.health import SelfWatch
from scenarios.load.messages import (
    Channel,
    Finished,
    Jobs,
    Prepare,
    Progress,
    Ready,
    Setup,
    Start,
    Stop,
    ToWorker,
)
from scenarios.load.priority import ask_for_short_turns
from scenarios.load.retries import Retries
from scenarios.load.schedule import Schedule
from scenarios.load.target import Target, parse_target
from scenarios.observation import Observation

_REPORT_S = 0.05
_BATCH = 64  # observations that make a report worth sending before its time
_TURN_BYTES = 16 << 10  # of new jobs, in one turn of the loop: some 30 us
_STOPPED = "the run was stopped"
_DECODE_NS = 200_000  # decoding done in one turn of the loop


class Worker:
    """Takes jobs ahead of time, sends them when they are due, reports one Observation for each, whatever happens."""

    def __init__(self, channel: Channel, setup: Setup, target: Target, keys: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._number = setup.worker
        self._secrets = to_hide(target.secrets)
        self._tenant_secrets = {tenant: to_hide((*target.secrets, key)) for tenant, key in keys.items()}
        connections = min(setup.connections, _raise_file_limit() - 64)
        self._client = Client(target, connections, self._note_sent, self._note_end)
        self._schedule = Schedule(self._client.send, self._client.sockets)
        self._chains = Chains(setup.planned)
        self._retries = Retries()
        self._t0_ns = 0
        self._fed = False  # nothing more will be handed over
        self._stop_at: asyncio.TimerHandle | None = None
        self._stopping = False
        self._readings: deque[Reading] = deque()
        self._sent: list[tuple[int, int]] = []
        self._begun: list[int] = []
        self._observations: list[Observation] = []
        self._watch = SelfWatch(self._loop, self._client.sockets)
        self._finished = False

    # ---- what the pool says

    def hear(self, message: ToWorker) -> None:
        match message:
            case Jobs():
                self._take(message)
            case Prepare():
                gc.collect()
                gc.freeze()
                gc.set_threshold(20_000, 50, 10_000)  # short young collections, no old ones: their pauses are not short
                self._channel.send(Ready())
            case Start() if not self._stopping:
                self._start(message.t0_ns)
            case Stop():
                self._stop(message.grace_s)

    def _take(self, message: Jobs) -> None:
        self._fed = message.last
        if self._stopping:
            return
        for job in message.jobs:
            if (due_ns := self._chains.due_ns(job)) is not None:
                self._schedule.add(job, due_ns)

    def _start(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        self._schedule.start(t0_ns)
        self._watch.start()
        self._report_later()

    def _stop(self, grace_s: float) -> None:
        """What was not begun is dropped: the pool knows what it handed over, and gives it its observations."""
        self._stopping = True
        for job in self._schedule.stop():
            if job.index in self._retries:
                self._observations.append(self._retries.settle(job.index))
        self._chains.stop()
        self._client.drop_unsent(_STOPPED)
        if self._stop_at is not None:
            self._stop_at.cancel()
        self._stop_at = self._loop.call_later(max(0.0, grace_s), self._client.stop, _STOPPED)
        self._report()

    # ---- what the client says

    def _note_sent(self, exchange: Exchange) -> None:
        assert exchange.sent_ns is not None
        if not self._retries.written(exchange.job.index):
            self._sent.append((exchange.job.index, exchange.sent_ns - self._t0_ns))

    def _note_end(self, exchange: Exchange) -> None:
        job = exchange.job
        if job.followed and job.retry is None:
            self._release(job.index, exchange.end_ns - self._t0_ns)
        secrets = self._tenant_secrets.get(job.tenant, self._secrets)
        self._readings.append(Reading(exchange, self._t0_ns or exchange.end_ns, self._number, secrets))
        if len(self._readings) == 1:
            self._loop.call_soon(self._read_some)

    def _release(self, index: int, end_ns: int) -> None:
        """That request is over for good: those that waited for it have their time now."""
        for job, due_ns in self._chains.over(index, end_ns):
            self._schedule.add(job, due_ns)

    def _read_some(self) -> None:
        """Decode for one short turn; the sockets come between two turns."""
        sockets = self._client.sockets
        deadline_ns = time.monotonic_ns() + (sockets.spare_ns(_DECODE_NS) if sockets is not None else _DECODE_NS)
        while self._readings and (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            try:
                observation = self._readings[0].step(left_ns)
            except Exception as error:  # noqa: BLE001 - it still gets its observation
                observation = self._readings[0].failed(f"the load worker failed: {type(error).__name__}: {error}")
            if observation is not None:
                self._conclude(self._readings.popleft().job, observation)
        if self._readings:
            self._loop.call_soon(self._read_some)
        if len(self._observations) >= _BATCH or not self._work_left:
            self._report()

    def _conclude(self, job: Job, observation: Observation) -> None:
        """One try is over, and with it the request unless it is tried again."""
        if job.retry is not None:
            due_ns = self._retries.again_ns(job.retry, observation)
            if due_ns is not None and not self._stopping:
                if not self._retries.written(job.index):
                    self._begun.append(job.index)
                self._schedule.add(job, due_ns)
                return
            observation = self._retries.settle(job.index)
            if job.followed and not self._stopping:
                self._release(job.index, observation.end_ns)
        self._observations.append(observation)

    # ---- reporting

    @property
    def _work_left(self) -> bool:
        """Something can still produce an observation. (Those that only wait for others cannot.)"""
        under_way = bool(self._schedule) or bool(self._readings) or self._client.in_flight > 0
        return under_way or not (self._fed or self._stopping)

    def _report_later(self) -> None:
        if not self._finished:
            self._loop.call_later(_REPORT_S, self._report_later)
            self._report()

    def _report(self) -> None:
        if self._finished:
            return
        done = not self._work_left
        if done:
            self._watch.close()
        self._channel.send(
            Progress(
                tuple(self._sent),
                tuple(self._observations),
                self._client.in_flight,
                self._client.send_lag.take(),
                self._watch.lag.take(),
                self._watch.health(),
                tuple(self._begun),
            )
        )
        self._sent = []
        self._begun = []
        self._observations = []
        if done:
            self._finished = True
            self._client.close()
            self._channel.send(Finished())


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
    worker: Worker | None = None
    closed = asyncio.Event()

    def hear(message: ToWorker) -> None:
        nonlocal worker
        if worker is not None:
            worker.hear(message)
        elif isinstance(message, Setup):
            keys = {tenant: os.environ.pop(name, "") for tenant, name in message.api_key_envs.items()}
            try:
                target = parse_target(message.base_url, keys.get("", ""), message.road)
            except TargetError as error:
                channel.send(Ready(str(error)))
            else:
                worker = Worker(channel, message, target, keys)

    channel = Channel(ToWorker, hear, closed.set, _TURN_BYTES)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=control)
    await closed.wait()
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
