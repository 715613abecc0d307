"""The harness watches itself: how late it sent and stamped, what kept it from it, against the machine's noise floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from statistics import fmean

import numpy as np
import numpy.typing as npt

from scenarios.gates.instrument import LATE_S
from scenarios.load.health import BEAT_S, Health
from scenarios.load.lag import LagHistogram
from scenarios.load.pool import LoadPool
from scenarios.runner.clock_steps import ClockSteps
from scenarios.runner.preflight import NoiseFloor, load_for, preflight
from scenarios.runner.telemetry import Telemetry
from scenarios.tick import InstrumentSample

Facts = dict[str, float | int | str | None]


class InstrumentWatch:
    """Collects the facts that decide whether a run is INVALID; `facts` go into journal and summary as they are.

    A run may have several pools, one after another; what they were late counts together.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._pools: list[LoadPool] = []
        self._floor: NoiseFloor | None = None
        self._preflight: float | None = None
        self._asleep_s = 0.0
        self._sampled_at: float | None = None
        self._silent_s = 0.0
        self._clock = ClockSteps()
        self.proxy_died: asyncio.Future[str] | None = None  # of the fault proxy that requests pass through; None: none

    async def preflight(
        self, due_ns: npt.NDArray[np.int64], duration_s: float, workers: int, stop: asyncio.Event
    ) -> NoiseFloor | None:
        """Measure the noise floor before a run of this plan; None when `stop` came first. Raises HarnessError."""
        if stop.is_set():
            return None
        self._preflight = 0.0
        measuring = asyncio.create_task(preflight(load_for(due_ns, duration_s), workers, self._show))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((measuring, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._preflight = None
            stopped.cancel()
            if not measuring.done():
                measuring.cancel()
                await asyncio.wait((measuring,))
        self._floor = None if measuring.cancelled() else measuring.result()
        return self._floor

    def watch(self, pool: LoadPool) -> None:
        """From here on the lags of these workers count; steal and sleep of the machine from the first pool on."""
        if not self._pools:
            self._telemetry.steal.clear()
            self._asleep_s = _asleep_s()
            self._clock = ClockSteps()
            self._sampled_at = None
        self._pools.append(pool)

    def sample(self, every_s: float) -> InstrumentSample:
        """For a tick, one of which is drawn `every_s`: how much later it is, the runner itself stood still."""
        self._clock.look()
        now = time.monotonic()
        if self._sampled_at is not None:
            self._silent_s = max(self._silent_s, now - self._sampled_at - every_s)
        self._sampled_at = now
        floor_s = self._floor.stamp_p99_s if self._floor else None
        return InstrumentSample(
            preflight=self._preflight,
            noise_floor_p99_s=floor_s,
            send_lag_p99_s=_together(pool.send_lag for pool in self._pools).quantile_s(0.99),
            loop_lag_p99_s=_together(pool.loop_lag for pool in self._pools).quantile_s(0.99),
            stalled_share=max(self._stalled(), default=None),
            steal=self._steal(),
        )

    def facts(self) -> Facts:
        """Times in seconds, shares 0..1; None where not measured. docs/measuring.md says what each is."""
        return {
            **_floor_facts(self._floor),
            **self._lateness(),
            **self._causes(),
            "steal": self._steal(),
            "asleep_s": round(_asleep_s() - self._asleep_s, 3) if self._pools else None,
            "runner_stall_s": self._silent_s,
            "clock_step_s": round(self._clock.largest_s, 3) if self._pools else None,
            "worker_deaths": sum(len(pool.deaths) for pool in self._pools),
            "through_proxy": None if self.proxy_died is None else 1,
            "proxy_deaths": None if self.proxy_died is None else int(self.proxy_died.done()),
        }

    def _lateness(self) -> Facts:
        """How late requests were sent, and how late something was stamped that came at a random moment."""
        send = _together(pool.send_lag for pool in self._pools)
        loop = _together(pool.loop_lag for pool in self._pools)
        worst = max(self._healths(), key=lambda health: health.longest_s, default=Health())
        return {
            "send_lag_p50_s": send.quantile_s(0.5),
            "send_lag_p99_s": send.quantile_s(0.99),
            "send_lag_p999_s": send.quantile_s(0.999),
            "send_lag_max_s": send.max_ns / 1e9 if send.n else None,
            "sent_late_share": send.share_above(LATE_S) if send.n else None,
            "stamp_lag_p50_s": loop.wait_quantile_s(0.5, BEAT_S),
            "stamp_lag_p99_s": loop.wait_quantile_s(0.99, BEAT_S),
            "stamp_lag_p999_s": loop.wait_quantile_s(0.999, BEAT_S),
            "stall_max_s": worst.longest_s if loop.n else None,
            "stall_max_at_s": worst.longest_at_s if loop.n else None,
            "stalled_share": max(self._stalled(), default=None),
        }

    def _stalled(self) -> list[float]:
        """For each worker the share of its time in which its loop stood still for longer than LATE_S at a time."""
        lags = [lag for pool in self._pools for lag in pool.loop_lags if lag.n]
        return [lag.stalled_s(LATE_S) / (lag.n * BEAT_S + lag.stalled_s(0.0)) for lag in lags]

    def _healths(self) -> list[Health]:
        return [health for pool in self._pools for health in pool.health if health.wall_s > 0]

    def _causes(self) -> Facts:
        """What took the time, of the worker that has most of it: others on its CPU, its collector, its own work."""
        healths = self._healths()
        waits = [health.run_wait_s / health.wall_s for health in healths if health.run_wait_s is not None]
        preempted = [health.preempted / health.wall_s for health in healths if health.preempted is not None]
        faults = [health.major_faults for health in healths if health.major_faults is not None]
        return {
            "worker_cpu_share": max((health.cpu_s / health.wall_s for health in healths), default=None),
            "run_wait_share": max(waits, default=None),
            "preempted_hz": round(max(preempted), 1) if preempted else None,
            "gc_share": max((health.gc_s / health.wall_s for health in healths), default=None),
            "gc_max_s": max((health.gc_longest_s for health in healths), default=None),
            "major_faults": max(faults, default=None),
        }

    def _steal(self) -> float | None:
        return fmean(self._telemetry.steal) if self._telemetry.steal else None

    def _show(self, share: float) -> None:
        self._preflight = share


def _together(lags: Iterable[LagHistogram]) -> LagHistogram:
    total = LagHistogram()
    for lag in lags:
        total.merge(lag.counts)
    return total


def _floor_facts(floor: NoiseFloor | None) -> Facts:
    return {
        "noise_floor_p50_s": floor.stamp_p50_s if floor else None,
        "noise_floor_p99_s": floor.stamp_p99_s if floor else None,
        "noise_send_p50_s": floor.send_p50_s if floor else None,
        "noise_send_p99_s": floor.send_p99_s if floor else None,
        "timer_p50_s": floor.timer_p50_s if floor else None,
        "timer_p99_s": floor.timer_p99_s if floor else None,
        "preflight": str(floor.load) if floor else None,
    }


def _asleep_s() -> float:
    """Seconds that this machine has been suspended since it was started; 0.0 where the kernel does not tell."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)
