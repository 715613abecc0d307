"""The harness watches itself: how late it sent and stamped, against the machine's noise before the run."""

from __future__ import annotations

import asyncio
import time
from statistics import fmean

from scenarios.load.pool import LoadPool
from scenarios.runner.telemetry import Telemetry
from scenarios.tick import InstrumentSample

_SLEEPS = 100
_SLEEP_S = 0.005

Facts = dict[str, float | int | str | None]


class InstrumentWatch:
    """Collects the facts that decide whether a run is INVALID; `facts` go into journal and summary as they are."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._pool: LoadPool | None = None
        self._noise_s: tuple[float | None, float | None] = (None, None)

    async def preflight(self) -> None:
        """Half a second of 5 ms sleeps on an idle loop: their lateness is the noise floor that every report prints.

        Nearest-rank p50 and p99, in seconds.
        """
        late_s = []
        for _ in range(_SLEEPS):
            begun = time.monotonic()
            await asyncio.sleep(_SLEEP_S)
            late_s.append(time.monotonic() - begun - _SLEEP_S)
        late_s.sort()
        self._noise_s = (late_s[_SLEEPS // 2 - 1], late_s[-2])

    def watch(self, pool: LoadPool) -> None:
        """From here on the lags of these workers, and the steal from now, count."""
        self._pool = pool
        self._telemetry.steal.clear()

    def sample(self) -> InstrumentSample:
        """For a tick."""
        if self._pool is None:
            return InstrumentSample()
        return InstrumentSample(
            send_lag_p99_s=self._pool.send_lag.quantile_s(0.99),
            loop_lag_p99_s=self._pool.loop_lag.quantile_s(0.99),
            steal=self._steal(),
        )

    def facts(self) -> Facts:
        """Lags and noise in seconds, steal as a share of CPU time; None where not measured."""
        pool = self._pool
        return {
            "noise_floor_p50_s": self._noise_s[0],
            "noise_floor_p99_s": self._noise_s[1],
            "send_lag_p50_s": pool.send_lag.quantile_s(0.5) if pool else None,
            "send_lag_p99_s": pool.send_lag.quantile_s(0.99) if pool else None,
            "send_lag_max_s": pool.send_lag.max_ns / 1e9 if pool and pool.send_lag.n else None,
            "loop_lag_p99_s": pool.loop_lag.quantile_s(0.99) if pool else None,
            "steal": self._steal(),
            "worker_cpu_s": sum(pool.cpu_s) if pool else None,
            "worker_deaths": len(pool.deaths) if pool else 0,
        }

    def _steal(self) -> float | None:
        return fmean(self._telemetry.steal) if self._telemetry.steal else None
