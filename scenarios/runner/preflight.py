"""The instrument held against itself before a run: real workers read a paced server that knows when it wrote.

Every event of that server (scenarios.load.pacer) holds the monotonic time at which it was written, and both processes
read the same clock. What the worker's stamp is later than that is the noise floor: no time that is measured on this
machine today can be trusted more closely. The requests are planned at a known rate, so the lateness of their sending is
known as well. It is done while the target is up and idle, and it does not touch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.errors import HarnessError
from scenarios.load.pacer import STAMP_END, Ask
from scenarios.load.pool import LoadPool
from scenarios.load.worker_process import worker_environment
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest
from scenarios.stats.order import quantile

SHORTEST_S = 0.5
MOST_STREAMS = 256
FEWEST_STREAMS = 16
EVENTS_PER_S = 50  # of one stream: a fast model
_STREAM_S = 1.0
_LEAD_NS = 100_000_000
_WARM_UP = 0.2  # this share of the measurement comes first and does not count: connections are opened in it
_PATIENCE_S = 10.0

Show = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What the preflight sends: `streams` at once, each `stream_s` long, for `duration_s` in all."""

    streams: int
    stream_s: float
    duration_s: float

    @property
    def requests_per_s(self) -> float:
        return self.streams / self.stream_s

    def __str__(self) -> str:
        return f"{self.streams} streams x {EVENTS_PER_S} events/s for {self.duration_s:g} s"


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What this machine can measure today. Seconds.

    stamp: an event's time at the client minus its time at the server. send: abs(sent - due) of requests on an open
    connection. timer: how late an alarm rings in the load worker.
    """

    load: Load
    events: int
    stamp_p50_s: float
    stamp_p99_s: float
    send_p50_s: float
    send_p99_s: float
    timer_p50_s: float
    timer_p99_s: float


def load_for(due_ns: npt.NDArray[np.int64], duration_s: float) -> Load:
    """The load of a preflight before a run of this plan: the rate of its busiest second, in streams of a second.

    At least 16 streams at once, lest there be too little to measure, and at most 256.
    """
    stream_s = min(_STREAM_S, duration_s / 4)
    busiest = int(np.bincount((due_ns // 1_000_000_000).astype(np.int64)).max()) if len(due_ns) else 0
    return Load(min(MOST_STREAMS, max(FEWEST_STREAMS, ceil(busiest * stream_s))), stream_s, duration_s)


async def preflight(load: Load, workers: int, show: Show) -> NoiseFloor:
    """Measure the noise floor; `show` is told now and then which share of the time is over, 0..1.

    Raises HarnessError where its own processes cannot be started, or fail.
    """
    plan = Plan.of(_requests(load))
    async with _pacer() as url:
        pool = LoadPool(plan, url, workers=min(workers, load.streams))
        try:
            await pool.prepare()
            begun_ns = time.monotonic_ns() + _LEAD_NS
            pool.start(begun_ns)
            seen: list[Observation] = []
            try:
                async with asyncio.timeout(load.duration_s + _PATIENCE_S):
                    async for batch in pool.batches():
                        seen += batch.observations
                        show(min(1.0, max(0.0, (time.monotonic_ns() - begun_ns) / 1e9 / load.duration_s)))
            except TimeoutError as error:
                raise HarnessError(
                    f"the preflight of {load.duration_s:g} s was not over {_PATIENCE_S:g} s later: this machine is too "
                    "busy to measure anything; end other work on it"
                ) from error
            if pool.deaths:
                raise HarnessError(f"the preflight failed: {pool.deaths[0]}")
            timer_s = (pool.loop_lag.quantile_s(0.5) or 0.0, pool.loop_lag.quantile_s(0.99) or 0.0)
        finally:
            await pool.close()
    return _floor(load, begun_ns, seen, timer_s)


def _requests(load: Load) -> list[PlannedRequest]:
    """Requests at an even rate, the last of which ends with the preflight."""
    events = max(2, round(load.stream_s * EVENTS_PER_S))
    body = msgspec.json.encode(Ask(events, round(load.stream_s * 1e9 / events)))
    count = max(1, int((load.duration_s - load.stream_s) * load.requests_per_s))
    return [
        PlannedRequest(index=i, due_ns=round(i / load.requests_per_s * 1e9), path="/v1/chat/completions", body=body)
        for i in range(count)
    ]


def _floor(load: Load, begun_ns: int, seen: Iterable[Observation], timer_s: tuple[float, float]) -> NoiseFloor:
    counted_from_ns = round(_WARM_UP * (load.duration_s - load.stream_s) * 1e9)
    stamps_ns: list[int] = []
    sends_ns: list[int] = []
    for one in seen:
        if one.outcome is not Outcome.OK:
            raise HarnessError(f"the preflight failed: its own server gave {one.outcome}: {one.error}")
        if one.due_ns < counted_from_ns or one.sent_ns is None:
            continue
        sends_ns.append(abs(one.sent_ns - one.due_ns))
        written = one.answer.split(STAMP_END)[:-1]
        stamps_ns += [begun_ns + at - int(stamp) for at, stamp in zip(one.event_ns, written, strict=True)]
    if not stamps_ns:
        raise HarnessError("the preflight measured nothing: no stream of its own server came after the warm-up")
    stamps = np.sort(np.array(stamps_ns)) / 1e9
    sends = np.sort(np.array(sends_ns)) / 1e9
    return NoiseFloor(
        load=load,
        events=len(stamps),
        stamp_p50_s=quantile(stamps, 0.5) or 0.0,
        stamp_p99_s=quantile(stamps, 0.99) or 0.0,
        send_p50_s=quantile(sends, 0.5) or 0.0,
        send_p99_s=quantile(sends, 0.99) or 0.0,
        timer_p50_s=timer_s[0],
        timer_p99_s=timer_s[1],
    )


@asynccontextmanager
async def _pacer() -> AsyncIterator[str]:
    """The paced server's URL; its process ends with the block, whatever happens in it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "scenarios.load.pacer", str(listener.fileno())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(listener.fileno(),),
                env=worker_environment(),
                start_new_session=True,  # the terminal's signals are for the runner
            )
        except OSError as error:
            raise HarnessError(f"the preflight's own server cannot be started: {error}") from error
    try:
        yield url
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
