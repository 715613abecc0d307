"""The runner's side of the load workers: deals out the plan, starts them, gathers what they report, outlives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from scenarios.address import DIRECT, Road
from scenarios.errors import HarnessError
from scenarios.load.health import Health
from scenarios.load.lag import LagHistogram
from scenarios.load.messages import Progress, Start
from scenarios.load.target import parse_target
from scenarios.load.worker_process import WorkerProcess
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan

_START_TIMEOUT_S = 60.0
_STOP_MARGIN_S = 3.0  # a worker that has not finished this long after the grace is killed and accounted for


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
    Made inside a running loop.
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
        """`api_keys`: one for each tenant by name, "" being the run's own.

        `connections` is the bound for each worker; beyond it requests wait, which counts as send lag.
        """
        if workers < 1 or connections < 1:
            raise ValueError("a pool needs at least one worker and one connection")
        self.send_lag = LagHistogram()
        self.loop_lag = LagHistogram()
        self.deaths: list[str] = []
        self._base_url = base_url
        self._road = road
        self._api_key = (api_keys or {}).get("", "")
        self._planned = len(plan)
        self._sent = 0
        self._done = 0
        self._news = asyncio.Event()
        self._fresh: list[Observation] = []
        self._t0_ns = 0
        self._workers = [WorkerProcess(self, number, plan[number::workers], connections) for number in range(workers)]

    @property
    def totals(self) -> Totals:
        in_flight = sum(worker.in_flight for worker in self._workers)
        return Totals(planned=self._planned, sent=self._sent, in_flight=in_flight, done=self._done)

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
        """Start the workers and hand them the plan. Raises TargetError, or HarnessError when one fails."""
        await asyncio.to_thread(parse_target, self._base_url, self._api_key, self._road)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await asyncio.gather(
                    *(worker.prepare(self._base_url, self._road, self._api_key) for worker in self._workers)
                )
        except TimeoutError as error:
            raise HarnessError(f"the load workers were not ready within {_START_TIMEOUT_S:g} s") from error

    def start(self, t0_ns: int) -> None:
        """Due times count from `t0_ns` of time.monotonic_ns(); give it a little in the future."""
        self._t0_ns = t0_ns
        for worker in self._workers:
            if not worker.over.is_set():
                worker.send(Start(t0_ns))

    async def batches(self) -> AsyncIterator[Batch]:
        """What the workers report, at most 100 ms after it happened. Ends when every request is accounted for."""
        while True:
            over = all(worker.over.is_set() for worker in self._workers)
            if self._fresh or not over:
                await self._news.wait()
                self._news.clear()
                observations, self._fresh = tuple(self._fresh), []
                yield Batch(observations=observations, totals=self.totals)
            else:
                return

    async def stop(self, grace_s: float) -> None:
        """Send nothing more, let what is in flight end for `grace_s`, and return when all is accounted for."""
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

    # ---- what the workers' handles report

    def take(self, observations: Sequence[Observation], progress: Progress) -> None:
        self._sent += len(progress.sent)
        self.send_lag.merge(progress.send_lag)
        self.loop_lag.merge(progress.loop_lag)
        self._add(observations)

    def worker_died(self, what: str) -> None:
        self.deaths.append(what)

    def _add(self, observations: Sequence[Observation]) -> None:
        self._fresh.extend(observations)
        self._done += len(observations)
        self._news.set()

    def owed(self, number: int, open_requests: dict[int, int], sent_ns: dict[int, int]) -> None:
        now_ns = time.monotonic_ns() - self._t0_ns if self._t0_ns else -1
        owed = []
        for index, due_ns in open_requests.items():
            # what came due since its last report was most likely on the wire; only the worker knew
            begun = index in sent_ns or due_ns <= now_ns
            owed.append(
                Observation(
                    index=index,
                    due_ns=due_ns,
                    outcome=Outcome.CANCELLED if begun else Outcome.UNSENT,
                    end_ns=max(now_ns, 0),
                    sent_ns=sent_ns.get(index),
                    error="load worker died",
                    worker=number,
                )
            )
        self._add(owed)
