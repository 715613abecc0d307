"""A plan through a real LoadPool, its worker pinned to the generator's core; what came of it and what it cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest
from tests.benchmarks.load_bench.server import Server, cores

STREAM = b'{"model":"bench","stream":true,"messages":[{"role":"user","content":"Where away?"}]}'
SHORT = b'{"model":"bench","stream":false,"messages":[{"role":"user","content":"Where away?"}]}'
_LEAD_NS = 200_000_000


@dataclass(frozen=True, slots=True)
class Driven:
    """The observations by index, and how busy both sides were: CPU seconds over the seconds of the run."""

    observations: Sequence[Observation]
    t0_ns: int
    seconds: float
    """From the first request's due time until the last observation was in the runner's hands."""
    worker_share: float
    server_share: float

    def stamps_ns(self) -> list[int]:
        """Client's time less the server's for each event of each stream, ns."""
        found = []
        for one in self.observations:
            times = (int(stamp) for stamp in one.answer.split())
            found += [self.t0_ns + event_ns - stamp for event_ns, stamp in zip(one.event_ns, times, strict=True)]
        return found

    @property
    def events(self) -> int:
        return sum(len(one.event_ns) for one in self.observations)


def requests(due_ns: Sequence[int], stream: bool, timeout_s: float = 60.0) -> Plan:
    """One request at each due time, ns from the start, ascending."""
    body = STREAM if stream else SHORT
    return Plan.of(
        [
            PlannedRequest(
                index=i, due_ns=due, path="/v1/chat/completions", body=body, stream=stream, timeout_s=timeout_s
            )
            for i, due in enumerate(due_ns)
        ]
    )


async def drive(
    plan: Plan,
    server: Server,
    connections: int = 4096,
    meanwhile: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    worker_core: int | None = None,
) -> Driven:
    """Run the plan with one worker, and `meanwhile(t0_ns)` beside it. Raises AssertionError where a request failed.

    worker_core: the generator's own, where none is given.
    """
    pool = LoadPool(plan, server.url, workers=1, connections=connections)
    await pool.prepare()
    try:
        os.sched_setaffinity(pool.pids[0], {cores()[1] if worker_core is None else worker_core})
        os.sched_setaffinity(0, {cores()[0]})  # the runner shares the server's core, not the worker's
        server_before_s = server.cpu_s()
        t0_ns = time.monotonic_ns() + _LEAD_NS
        pool.start(t0_ns)
        beside = asyncio.create_task(meanwhile(t0_ns)) if meanwhile is not None else None
        found: list[Observation] = []
        async for batch in pool.batches():
            found += batch.observations
        if beside is not None:
            await beside
        seconds = (time.monotonic_ns() - t0_ns) / 1e9
        worker_s, server_s = pool.health[0].cpu_s, server.cpu_s() - server_before_s
    finally:
        await pool.close()
        os.sched_setaffinity(0, set(cores()))
    bad = [one for one in found if one.outcome is not Outcome.OK]
    if bad or len(found) != len(plan):
        raise AssertionError(f"{len(bad)} of {len(found)} failed, the first: {bad[:1]}")
    found.sort(key=lambda one: one.index)
    return Driven(found, t0_ns, seconds, worker_s / seconds, server_s / seconds)
