"""Target 5: nothing is omitted. Worker and server each stop for 3 s at a random moment of every run.

Of each run it is counted whether every planned request has exactly one observation, and whether the stops show: a
request that was due while somebody stood still cannot have its first token before both go on, so its latency from due
is at least what is left of the stop. Runs go side by side: they are checked for completeness, not for speed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

from scenarios.load.pool import LoadPool
from scenarios.observation import Observation
from scenarios.plan import Plan
from scenarios.request import PlannedRequest, Retry
from tests.benchmarks.load_bench.driver import STREAM
from tests.benchmarks.load_bench.server import serving
from tests.benchmarks.load_bench.table import Row

TARGET = 5
TITLE = "nothing omitted: runs with worker and server stopped for 3 s at random"
_RUNS, _QUICK_RUNS = 100, 10
_SIDE_BY_SIDE = 5
_SPAN_S = 5.0
_RATE = 100
_STOP_S = 3.0
_LEAD_S = 0.2
_TOKENS, _PACE_US = 5, 20_000
_SLACK_NS = 1_000_000  # a process that was told to stop runs on until its next tick


@dataclass(frozen=True, slots=True)
class Stop:
    """From when to when a process stood still, ns from the run's start; `worker`: its number, None for the server."""

    worker: int | None
    begin_ns: int
    end_ns: int

    def hidden_by(self, one: Observation) -> bool:
        """Whether its request was due while nothing could answer it, and it claims an answer all the same."""
        if one.first_ns is None or one.attempts > 1 or self.worker not in (None, one.worker):
            return False
        return self.begin_ns < one.due_ns and one.first_ns < self.end_ns - _SLACK_NS and one.due_ns < self.end_ns


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run."""

    planned: int
    observations: tuple[Observation, ...]
    stops: tuple[Stop, ...]
    worst_lag_ns: int

    @property
    def miscounted(self) -> int:
        """Requests without an observation, and observations too many."""
        seen = Counter(one.index for one in self.observations)
        return sum(abs(seen[index] - 1) for index in range(self.planned)) + sum(index >= self.planned for index in seen)

    @property
    def hidden(self) -> int:
        """Answers whose latency is smaller than what was left of a stop when they were due."""
        return sum(any(stop.hidden_by(one) for stop in self.stops) for one in self.observations)


def measure(quick: bool) -> list[Row]:
    count = _QUICK_RUNS if quick else _RUNS
    runs = asyncio.run(_all(count))
    outcomes = Counter(str(one.outcome) for run in runs for one in run.observations)
    planned = sum(run.planned for run in runs)
    said = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    unseen = sum(run.worst_lag_ns < (_STOP_S - 0.1) * 1e9 for run in runs)
    return [
        Row(TARGET, f"requests of {planned} in {count} runs that lack an observation or have two",
            sum(run.miscounted for run in runs), "", 0, note=said),
        Row(TARGET, "answers whose latency from due hides a stop", sum(run.hidden for run in runs), "", 0),
        Row(TARGET, "runs whose send lag does not show the worker's stop", unseen, "", 0),
    ]  # fmt: skip


async def _all(count: int) -> list[Run]:
    turn = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(seed: int) -> Run:
        async with turn:
            return await _run(random.Random(seed))

    return await asyncio.gather(*(one(seed) for seed in range(count)))


def _plan() -> Plan:
    """Every eighth request follows the one before, every eighth is tried again, every fourth is impatient."""
    return Plan.of(
        [
            PlannedRequest(
                index=index,
                due_ns=index * 1_000_000_000 // _RATE,
                path="/v1/chat/completions",
                body=STREAM,
                timeout_s=1.0 if index % 4 == 1 else 10.0,
                after=index - 1 if index % 8 == 3 else None,
                think_s=0.05 if index % 8 == 3 else 0.0,
                retry=Retry(attempts=3, wait_s=0.1, factor=2.0) if index % 8 == 5 else None,
            )
            for index in range(int(_SPAN_S * _RATE))
        ]
    )


async def _run(dice: random.Random) -> Run:
    plan = _plan()
    with serving(_TOKENS, _PACE_US) as server:
        pool = LoadPool(plan, server.url, workers=dice.choice((1, 2)), connections=1024)
        await pool.prepare()
        try:
            t0_ns = time.monotonic_ns() + int(_LEAD_S * 1e9)
            pool.start(t0_ns)
            worker = dice.randrange(len(pool.pids))
            stops = asyncio.gather(
                _stop(worker, pool.pids[worker], t0_ns, dice.uniform(0, _SPAN_S - 0.5)),
                _stop(None, server.process.pid, t0_ns, dice.uniform(0, _SPAN_S - 0.5)),
            )
            seen = [one async for batch in pool.batches() for one in batch.observations]
            return Run(len(plan), tuple(seen), tuple(await stops), pool.send_lag.max_ns)
        finally:
            await pool.close()


async def _stop(worker: int | None, pid: int, t0_ns: int, at_s: float) -> Stop:
    """Stop the process for three seconds."""
    await asyncio.sleep(t0_ns / 1e9 + at_s - time.monotonic())
    os.kill(pid, signal.SIGSTOP)
    begin_ns = time.monotonic_ns()
    try:
        await asyncio.sleep(_STOP_S)
    finally:
        end_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGCONT)
    return Stop(worker, begin_ns - t0_ns, end_ns - t0_ns)
