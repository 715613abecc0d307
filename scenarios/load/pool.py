"""The runner's side of the load workers: deals out the plan, starts them, gathers what they report, outlives them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import msgspec

from scenarios.address import DIRECT, Road
from scenarios.errors import HarnessError
from scenarios.load.exchange import Job
from scenarios.load.feed import deal
from scenarios.load.health import Health
from scenarios.load.job import job_of
from scenarios.load.lag import LagHistogram
from scenarios.load.messages import Progress
from scenarios.load.target import Target, parse_target, read_key
from scenarios.load.worker_process import WorkerProcess
from scenarios.observation import Observation
from scenarios.plan import Plan

_START_TIMEOUT_S = 60.0
_STOP_MARGIN_S = 3.0  # a worker that has not finished this long after the grace is killed and accounted for

_DEBTS_AT_ONCE = 1_000


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the run so far, all workers together; `done` of `planned` have their observation."""

    planned: int
    sent: int
    in_flight: int
    done: int


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What came since the last batch (may hold no observation), and how things stand."""

    observations: tuple[Observation, ...]
    totals: Totals


class LoadPool:
    """Runs a plan from one or more worker processes: exactly one Observation for each request, also when a worker dies.

    prepare, start, read `batches` to their end, close; `stop` at any time ends the run early. `send_lag` and `loop_lag`
    are the workers' own lateness so far, `deaths` says which workers died: if it is not empty, the run is INVALID.
    The plan is never held whole: requests are made and handed over some seconds before they are due, those of a chain
    to one worker. Made inside a running loop.
    """

    def __init__(
        self,
        plan: Plan,
        base_url: str,
        api_keys: Mapping[str, str] | None = None,
        workers: int = 1,
        connections: int = 4096,
        road: Road = DIRECT,
    ) -> None:
        """`api_keys`: one for each tenant by name, "" being the run's own, which tenants without one also use.

        `connections` is the bound for each worker; beyond it requests wait, which counts as send lag. Raises
        TargetError where a key cannot go into a request.
        """
        if workers < 1 or connections < 1:
            raise ValueError("a pool needs at least one worker and one connection")
        self.send_lag = LagHistogram()
        self.loop_lag = LagHistogram()
        self.deaths: list[str] = []
        self._plan = plan
        self._base_url = base_url
        self._road = road
        self._api_keys = {"": ""}
        for tenant, key in (api_keys or {}).items():
            self._api_keys[tenant] = read_key(key, f"the API key of tenant {tenant!r}" if tenant else "the API key")
        self._sent = 0
        self._done = 0
        self._news = asyncio.Event()
        self._fresh: list[Observation] = []
        self._debts: deque[Iterator[Observation]] = deque()
        self._target: Target | None = None
        self._t0_ns = 0
        self._failure: BaseException | None = None
        feeds = deal(plan.due_ns, plan.root, workers)
        self._workers = [
            WorkerProcess(self, number, feed, self._make_job, len(plan), connections)
            for number, feed in enumerate(feeds)
        ]

    @property
    def totals(self) -> Totals:
        in_flight = sum(worker.in_flight for worker in self._workers)
        return Totals(planned=len(self._plan), sent=self._sent, in_flight=in_flight, done=self._done)

    @property
    def health(self) -> tuple[Health, ...]:
        """What each worker says of its own process."""
        return tuple(worker.health for worker in self._workers)

    @property
    def loop_lags(self) -> tuple[LagHistogram, ...]:
        """The heartbeat of each worker by itself."""
        return tuple(worker.loop_lag for worker in self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers, once prepared."""
        return tuple(worker.pid for worker in self._workers)

    async def prepare(self) -> None:
        """Start the workers and hand them what is due first. Raises TargetError, or HarnessError when one fails."""
        self._target = await asyncio.to_thread(parse_target, self._base_url, self._api_keys[""], self._road)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await asyncio.gather(
                    *(worker.prepare(self._base_url, self._road, self._api_keys) for worker in self._workers)
                )
        except TimeoutError as error:
            raise HarnessError(f"the load workers were not ready within {_START_TIMEOUT_S:g} s") from error

    def start(self, t0_ns: int) -> None:
        """Due times count from `t0_ns` of time.monotonic_ns(); give it a little in the future."""
        self._t0_ns = t0_ns
        for worker in self._workers:
            if not worker.over.is_set():
                worker.start(t0_ns)

    async def batches(self) -> AsyncIterator[Batch]:
        """What the workers report, at most 100 ms after it happened. Ends when every request is accounted for.

        Raises what the plan raised, where it could not make a request.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._fresh or self._debts:
                self._news.set()
            elif all(worker.over.is_set() for worker in self._workers):
                return
            await self._news.wait()
            self._news.clear()
            observations, self._fresh = self._fresh + self._pay(), []
            yield Batch(observations=tuple(observations), totals=self.totals)

    def _pay(self) -> list[Observation]:
        """Some observations of requests that will get none from a worker: a few at a time, there may be a million."""
        if not self._debts:
            return []
        paid = list(itertools.islice(self._debts[0], _DEBTS_AT_ONCE))
        self._done += len(paid)
        if len(paid) < _DEBTS_AT_ONCE:
            self._debts.popleft()
        return paid

    async def stop(self, grace_s: float) -> None:
        """Send nothing more, let what is in flight end for `grace_s`, and return when no worker has work."""
        for worker in self._workers:
            worker.stop(grace_s)
        try:
            async with asyncio.timeout(grace_s + _STOP_MARGIN_S):
                await asyncio.gather(*(worker.over.wait() for worker in self._workers))
        except TimeoutError:
            for worker in self._workers:
                worker.give_up(f"it did not stop within {grace_s + _STOP_MARGIN_S:g} s")

    async def close(self) -> None:
        """End the workers. Requests still open are accounted for as if the worker had died."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def _make_job(self, index: int, followed: bool) -> Job:
        assert self._target is not None
        return job_of(self._plan[index], self._target, self._api_keys, followed=followed)

    # ---- what the workers' handles report

    def take(self, observations: Sequence[Observation], progress: Progress) -> None:
        self._sent += len(progress.sent)
        self.send_lag.merge(progress.send_lag)
        self.loop_lag.merge(progress.loop_lag)
        self._fresh.extend(observations)
        self._done += len(observations)
        self._news.set()

    def worker_over(self, worker: WorkerProcess) -> None:
        now_ns = max(0, time.monotonic_ns() - self._t0_ns) if self._t0_ns else None
        self._debts.append(worker.owed(self._plan.due_ns, now_ns))
        self._news.set()

    def worker_died(self, what: str) -> None:
        self.deaths.append(what)

    def feeding_failed(self, error: BaseException) -> None:
        self._failure = error
        self._news.set()
