"""A tick drawn from the parts of a run."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.definition import Scenario
from scenarios.drift import DriftMonitor
from scenarios.gates import so_far
from scenarios.result import GateVerdict
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.instrument import InstrumentWatch
from scenarios.runner.live import LiveRun
from scenarios.runner.telemetry import Telemetry
from scenarios.tick import Tick

TICK_S = 0.25  # also the time between two commits: what a crash can lose


def draw_tick(
    t_s: float,
    phase: str,
    scenario: Scenario,
    live: LiveRun,
    drift: DriftMonitor,
    telemetry: Telemetry,
    instrument: InstrumentWatch,
    faults: FaultBoard,
    sequential: Mapping[int, GateVerdict],
) -> Tick:
    """The run at `t_s` seconds after its start; `phase` as in Tick.state, `sequential` how such gates stand."""
    due_rate, done_rate, token_rate = live.rates(t_s)
    drift_sample = drift.sample()
    values: dict[str, float | None] = {
        "engine.restarts": float(telemetry.engine.restarts) if telemetry.engine.state != "external" else None,
        "drift.detected": 1.0 if drift_sample.alarm else None,  # until then it may still go off
    }
    return Tick(
        t_s=t_s,
        state=phase,
        duration_s=scenario.length_s,
        planned=live.planned,
        due=live.due(t_s),
        sent=live.sent,
        in_flight=live.in_flight,
        done=live.outcomes.total(),
        outcomes=dict(live.outcomes),
        due_rate=due_rate,
        done_rate=done_rate,
        tokens=live.tokens,
        token_rate=token_rate,
        ttft=live.recent_ttft.quantiles(t_s),
        itl=live.recent_itl.quantiles(t_s),
        ttft_all=live.sketches["ttft_s"].quantiles(),
        slo_ttft_s=scenario.slo.ttft_s,
        host_cpu=telemetry.host_cpu,
        host_memory=telemetry.host_memory,
        gpus=telemetry.gpus,
        gpu_note=telemetry.gpu_note,
        engine=telemetry.engine,
        findings=dict(live.findings),
        drift=drift_sample,
        faults=faults.active,
        gates=so_far(scenario.gates, live.sketches, live.counts(scenario.gates), values, sequential),
        instrument=instrument.sample(TICK_S),
        stage=live.stage,
    )
