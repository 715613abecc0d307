"""The facts of a run's instrument: of all its pools together, and of the worst worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scenarios.load.health import Health
from scenarios.load.lag import LagHistogram
from scenarios.runner.instrument import InstrumentWatch


def lags(*lags_s: float) -> LagHistogram:
    counts = LagHistogram()
    for lag_s in lags_s:
        counts.add(round(lag_s * 1e9))
    return counts


def pool(loops: list[LagHistogram], send: LagHistogram, health: list[Health], deaths: int = 0) -> Any:
    together = LagHistogram()
    for loop in loops:
        together.merge(loop.counts)
    return SimpleNamespace(
        send_lag=send, loop_lag=together, loop_lags=loops, health=health, deaths=["worker 0 died"] * deaths
    )


def watch(*pools: Any) -> InstrumentWatch:
    watching = InstrumentWatch(SimpleNamespace(steal=[]))  # type: ignore[arg-type]
    for one in pools:
        watching.watch(one)
    return watching


BUSY = Health(wall_s=10.0, cpu_s=9.0, longest_s=0.2, longest_at_s=4.0, gc_s=1.0, gc_longest_s=0.1, preempted=50)
CALM = Health(wall_s=10.0, cpu_s=0.1, longest_s=0.001, longest_at_s=1.0, run_wait_s=0.5, preempted=5, major_faults=2)


def test_the_worst_worker_of_all_pools_is_told() -> None:
    facts = watch(
        pool([lags(*[0.0] * 160, 0.2)], lags(0.001, 0.02), [BUSY], deaths=1),
        pool([lags(*[0.0] * 200)], lags(0.001, 0.001), [CALM, Health()]),
    ).facts()
    assert facts["send_lag_max_s"] == 0.02
    assert facts["sent_late_share"] == 0.25
    assert facts["stalled_share"] == pytest.approx(0.2 / (161 * 0.005 + 0.2), rel=0.01)
    assert (facts["stall_max_s"], facts["stall_max_at_s"]) == (0.2, 4.0)
    assert (facts["worker_cpu_share"], facts["run_wait_share"]) == (0.9, 0.05)
    assert (facts["gc_share"], facts["gc_max_s"], facts["preempted_hz"], facts["major_faults"]) == (0.1, 0.1, 5.0, 2)
    assert facts["worker_deaths"] == 1


def test_before_the_first_pool_nothing_is_known() -> None:
    facts = watch().facts()
    assert {value for key, value in facts.items() if key not in ("runner_stall_s", "worker_deaths")} == {None}
