"""One run, from an empty journal to a verdict in it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.supervisor import EngineEvent
from engine.telemetry import describe_machine
from scenarios.definition import FaultSpec, Scenario
from scenarios.drift import DriftMonitor
from scenarios.errors import JournalError
from scenarios.journal import JournalReader, JournalWriter
from scenarios.load.pool import LoadPool
from scenarios.metrics import ODD_PROFILE
from scenarios.observation import Outcome
from scenarios.plan import Plan, make_plan
from scenarios.rebuild import DRIFT, INSTRUMENT, PHASE_DONE, SCENARIO, rebuild
from scenarios.result import ResultDocument, RunInfo
from scenarios.runner.content import judge_content
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.instrument import InstrumentWatch
from scenarios.runner.live import NS, LiveRun
from scenarios.runner.options import RunOptions
from scenarios.runner.target import EmbeddedTarget, RemoteTarget, Target
from scenarios.runner.telemetry import Telemetry
from scenarios.runner.ticks import draw_tick
from scenarios.runs import journal_path
from scenarios.tick import Event, Tick

TICK_S = 0.25
LEAD_S = 0.3  # between the last preparation and the first due time
STOP_GRACE_S = 2.0

OnTick = Callable[[Tick], None]
OnEvent = Callable[[Event], None]


async def run_trial(options: RunOptions, on_tick: OnTick, on_event: OnEvent, stop: asyncio.Event) -> ResultDocument:
    """Run one scenario and return its document, which is also in the journal.

    `on_tick` and `on_event` show progress. A set `stop` ends the run early and cleanly: what is in flight gets two
    seconds, the rest is counted as unsent, and the run is marked interrupted.

    Raises:
        TargetError: the target cannot be started or reached.
        DefinitionErrors: the seed is negative, or the plan would hold no request.
        JournalError: the journal cannot be written.
        HarnessError: the load workers cannot be started.
    """
    path = journal_path(options.runs_dir, options.run_id)
    journal = JournalWriter(path)
    try:
        trial = Trial(options, journal, on_tick, on_event, stop)
        await trial.run()
    finally:
        journal.close()
    with JournalReader(path) as reader:
        document = reader.document()
    if document is None:
        raise JournalError(f"{path}: the run ended without a document")
    return document


class Trial:
    """The parts of one run and how they hang together; `run` is the story."""

    def __init__(
        self, options: RunOptions, journal: JournalWriter, on_tick: OnTick, on_event: OnEvent, stop: asyncio.Event
    ) -> None:
        self._options = options
        self._scenario = options.scenario
        self._journal = journal
        self._on_tick = on_tick
        self._on_event = on_event
        self._stop = stop
        self._t0_ns: int | None = None
        self._phase = "preparing"
        self._commands_taken = 0
        self._target: Target = (
            RemoteTarget(options) if options.target else EmbeddedTarget(options, self._on_engine_event)
        )
        self._faults = FaultBoard(self._target, self._now_s, self._emit)
        self._telemetry = Telemetry(self._target)
        self._instrument = InstrumentWatch(self._telemetry)
        self._live = LiveRun((), self._scenario.slo)
        self._drift = DriftMonitor(planned=0)
        self._info = RunInfo(
            id=options.run_id,
            scenario=self._scenario.name,
            seed=options.seed,
            plan_hash="",
            target=self._target.describe,
            model=self._target.model,
            started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            environment={**describe_machine(), "gpu_note": self._telemetry.gpu_note, "engine_ours": self._target.owned},
            state="running",
        )

    async def run(self) -> None:
        """Prepare, send, judge. Whatever happens, target and workers are ended and the journal says how it was."""
        try:
            self._journal.set_meta("runner_pid", str(os.getpid()))
            self._journal.set_meta(SCENARIO, msgspec.json.encode(self._scenario).decode())
            self._save_info()
            self._journal.commit()
            await _beside(self._work(), self._telemetry.follow(), self._ticking())
        except BaseException as error:
            if not isinstance(error, JournalError) and self._phase != "done":
                self._emit("run.failed", str(error) or type(error).__name__, None)
                self._save_info(state="failed")
                self._journal.commit()
            raise
        finally:
            await self._target.stop()
            self._telemetry.close()

    # ---- the story

    async def _work(self) -> None:
        self._emit("phase.prepare", f"starting: {self._target.describe}", None)
        await self._target.start()
        plan = await asyncio.to_thread(make_plan, self._scenario, self._options.seed, self._target.wire_model)
        self._journal.add_plan(plan)
        self._save_info(plan_hash=plan.hash, model=self._target.model)
        self._live = LiveRun(plan, self._scenario.slo)
        self._drift = _drift_monitor(self._scenario, plan)
        await self._instrument.preflight()
        key = os.environ.get(self._options.api_key_env or "", "")
        pool = LoadPool(plan, self._target.base_url, {"": key}, self._options.workers, road=self._target.road)
        try:
            await pool.prepare()
            self._instrument.watch(pool)
            self._t0_ns = time.monotonic_ns() + int(LEAD_S * NS)
            pool.start(self._t0_ns)
            self._phase = "running"
            self._emit("phase.run", f"{len(plan)} requests, plan {plan.hash[:16]}", None, at_s=0.0)
            await _beside(self._receive(pool, plan), self._faults.follow(self._scenario.faults), self._obey_stop(pool))
        finally:
            await pool.close()
        self._judge()

    async def _receive(self, pool: LoadPool, plan: Plan) -> None:
        """Take in what the workers report, until every planned request has its observation."""
        async for batch in pool.batches():
            self._live.sent, self._live.in_flight = batch.totals.sent, batch.totals.in_flight
            self._journal.add_observations(batch.observations)
            for observation in batch.observations:
                request = plan[observation.index]
                judged, findings = judge_content(request, observation)
                self._live.fold(observation, judged, findings)
                if observation.outcome is not Outcome.UNSENT:
                    self._drift.add(observation.end_ns / NS, request, judged.correct)
                self._journal.add_judged((judged,))
                self._journal.add_findings(findings)

    async def _obey_stop(self, pool: LoadPool) -> None:
        await self._stop.wait()
        self._emit("operator.stop", f"stopped by the operator; what is in flight gets {STOP_GRACE_S:g} s", None)
        self._save_info(state="interrupted")
        await pool.stop(STOP_GRACE_S)

    def _judge(self) -> None:
        self._phase = "judging"
        if self._info.state == "running":
            self._save_info(state="done")
        self._tick()
        with JournalReader(self._journal.path) as reader:
            document = rebuild(reader)
        self._journal.set_document(document)
        self._phase = "done"
        self._emit(PHASE_DONE, f"{document.verdict}: {document.why}", None)
        self._tick()

    # ---- what goes on beside it

    async def _ticking(self) -> None:
        async with asyncio.TaskGroup() as injected:
            while True:
                for command in self._journal.take_commands(self._commands_taken):
                    self._commands_taken = command.id
                    match command.kind:
                        case "stop":
                            self._stop.set()
                        case "fault" if self._t0_ns is None:
                            self._emit("fault.refused", f"{command.argument}: the run has not started yet", None)
                        case "fault":
                            injected.create_task(self._faults.inject(FaultSpec(command.argument, self._now_s())))
                        case _:
                            self._emit("operator.unknown", f"no command {command.kind}", None)
                self._tick()
                await asyncio.sleep(TICK_S)

    def _tick(self) -> None:
        now_s = self._now_s()
        if self._phase == "running" and now_s > self._scenario.arrivals.duration_s:
            self._phase = "draining"
        tick = draw_tick(
            now_s, self._phase, self._scenario, self._live, self._drift, self._telemetry, self._instrument, self._faults
        )
        self._journal.add_tick(tick)
        if self._phase != "done":  # the document is made of these: from there on they stay as it found them
            self._journal.set_meta(INSTRUMENT, msgspec.json.encode(self._instrument.facts()).decode())
            self._journal.set_meta(DRIFT, msgspec.json.encode(self._drift.facts()).decode())
        self._journal.commit()
        self._on_tick(tick)

    def _emit(self, kind: str, text: str, recovery_s: float | None, at_s: float | None = None) -> None:
        event = Event(t_s=self._now_s() if at_s is None else at_s, kind=kind, text=text, recovery_s=recovery_s)
        self._journal.add_event(event)
        self._on_event(event)

    def _on_engine_event(self, event: EngineEvent) -> None:
        text = f"engine {event.kind}" + (f": {event.detail}" if event.detail else "")
        self._emit(f"engine.{event.kind}", text, None)

    def _now_s(self) -> float:
        """Seconds of the run; negative, and not moving, until its start is known."""
        return -LEAD_S if self._t0_ns is None else (time.monotonic_ns() - self._t0_ns) / NS

    def _save_info(self, **changes: object) -> None:
        self._info = msgspec.structs.replace(self._info, **changes)
        self._journal.set_run(self._info)


def _drift_monitor(scenario: Scenario, plan: Plan) -> DriftMonitor:
    drift = scenario.workload.drift
    start_s = None if drift is None else drift.start * scenario.arrivals.duration_s
    return DriftMonitor(sum(request.profile != ODD_PROFILE for request in plan), start_s)


async def _beside(main: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end with `others` beside it, which then end too. Any error ends all and is raised bare."""
    try:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(main)
            companions = [group.create_task(other) for other in others]
            await asyncio.wait([work])
            for companion in companions:
                companion.cancel()
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
