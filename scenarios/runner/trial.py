"""The parts of one run and how they hang together; run.py, search.py and resume.py say in which order they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import msgspec
import numpy as np

from engine.supervisor import EngineEvent
from scenarios.definition import FaultSpec, Scenario
from scenarios.drift import DriftMonitor
from scenarios.errors import JournalError, StoppedEarly
from scenarios.faults.kinds import KINDS, Via
from scenarios.faults.possible import Setting
from scenarios.gates import EarlyEnd
from scenarios.journal import JournalWriter
from scenarios.load.pool import LoadPool
from scenarios.plan import Plan
from scenarios.rebuild import DRIFT, INSTRUMENT, PHASE_DONE, PHASE_JUDGE, PHASE_RUN, RESUMED, Facts, worst_of
from scenarios.result import ResultDocument, Resumed
from scenarios.runner.beside import beside
from scenarios.runner.clean_slots import CleanSlots
from scenarios.runner.clock import NS, RunClock
from scenarios.runner.commands import Commands
from scenarios.runner.ending import Ending
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.fault_rules import FaultRules, unsteady
from scenarios.runner.injectors import Injectors, InPath, starts_of
from scenarios.runner.instrument import InstrumentWatch
from scenarios.runner.intake import Intake
from scenarios.runner.judging import judged
from scenarios.runner.leg import Leg
from scenarios.runner.live import LiveRun
from scenarios.runner.options import RunOptions, api_keys
from scenarios.runner.planning import PlanWriter, Request
from scenarios.runner.record import OnEvent, OnTick, Record, begun_now
from scenarios.runner.target import Target, target_of
from scenarios.runner.telemetry import Telemetry
from scenarios.runner.ticks import TICK_S, draw_tick
from scenarios.tick import Tick

T = TypeVar("T")


class Trial:
    """The parts of one run and how they hang together; a story says in which order they are used.

    A story starts the target, writes a plan and sends it, as often as it likes: the run's clock stands still between
    two plans. The indexes of a plan go on where those of the one before ended, its due times from `clock.next_due_ns`.
    """

    def __init__(
        self,
        options: RunOptions,
        journal: JournalWriter,
        on_tick: OnTick,
        on_event: OnEvent,
        stop: asyncio.Event,
    ) -> None:
        self.options = options
        self.journal = journal
        self.clock = RunClock()
        self.target = target_of(options, self._on_engine_event)
        self.telemetry = Telemetry(self.target)
        self.instrument = InstrumentWatch(self.telemetry)
        self.live = LiveRun(np.empty(0, dtype=np.int64), options.scenario.slo)
        self.drift = DriftMonitor(planned=0)
        self.record = Record(
            options,
            journal,
            begun_now(options, self.target, self.telemetry.gpu_note),
            lambda: self.clock.now_s,
            on_tick,
            on_event,
        )
        self.injectors = Injectors(starts_of(options, self.target, journal.path), self.record.emit)
        self.faults = FaultBoard(
            FaultRules(options.seed, options.scenario.blast, options.own_target),
            self.target,
            self.setting,
            self.injectors.of,
            lambda: self.clock.now_s,
            self.record.emit,
            lambda: unsteady(options.scenario.gates, self.live),
        )
        self.ending = Ending(stop, options.scenario.abort, self.record, self.faults)
        self._watchers: list[Callable[[Tick], None]] = [
            self.faults.see,
            self.ending.see,
        ]  # each sees every tick while a plan is sent
        self.commands = Commands(journal, self.record, stop, self.faults)
        self.facts_before: Facts = {}  # of the instrument, from before the run was resumed
        self._phase = "preparing"
        self._early: EarlyEnd | None = None

    async def run(self, story: Callable[[Trial], Coroutine[Any, Any, T]]) -> T:
        """Follow the story. Whatever happens, target and workers are ended and the journal says how it was."""
        try:
            if self.record.kept:
                self.record.begin()
                self.journal.commit()
            return await beside(story(self), self.telemetry.follow(), self._ticking())
        except BaseException as error:
            if self.record.kept and not isinstance(error, JournalError) and self._phase != "done":
                if isinstance(error, asyncio.CancelledError | StoppedEarly):
                    self.record.interrupt("stopped by the operator, at once")
                else:
                    self.record.fail(str(error) or type(error).__name__)
                self.journal.commit()
            raise
        finally:
            async with AsyncExitStack() as stack:
                stack.callback(self.telemetry.close)
                stack.push_async_callback(self.target.stop)
                stack.push_async_callback(self.injectors.close)  # comes first

    # ---- what a story is made of

    async def start_target(self) -> None:
        """Start or reach the target. Raises TargetError, StoppedEarly."""
        self.record.emit("phase.prepare", f"starting: {self.target.describe}")
        await self.ending.unless_stopped(self.target.start())
        self.record.save(model=self.target.model)

    async def write_plan(self, leg: Leg) -> None:
        """Journal a plan in a thread, block by block; the run's plan hash is that of the last one written.

        Raises StoppedEarly where the operator ends the run before its first plan is written.
        """
        loop = asyncio.get_running_loop()

        def say(count: int) -> None:
            text = f"planned {count:,} of {len(leg.plan):,} requests"
            loop.call_soon_threadsafe(self.record.emit, "phase.plan", text)

        writer = PlanWriter(leg, self.journal, say)
        stopping = asyncio.create_task(self.ending.stop.wait())
        if not self.record.info.plan_hash:  # a later plan is short, and what came of those before it is to be judged
            stopping.add_done_callback(lambda _: writer.stop())
        try:
            planned = await asyncio.to_thread(writer.write)
        except InterruptedError:
            raise self.ending.stopped_early() from None
        finally:
            stopping.cancel()
            writer.stop()
        self.record.save(plan_hash=planned.hash)
        self.journal.commit()
        if not self.live.planned:  # drift is watched from the first plan on
            self.drift = DriftMonitor(len(leg.plan) - planned.odd, drift_start_s(self.options.scenario))
        self.live.extend(leg.plan.due_ns)

    async def measure_noise(self, plan: Plan) -> None:
        """Measure what this machine can measure today, before the first request of such a plan. Raises HarnessError."""
        self._phase = "preflight"
        options = self.options
        self.record.emit("phase.preflight", f"measuring this machine's noise floor for {options.preflight_s:g} s")
        floor = await self.instrument.preflight(plan.due_ns, options.preflight_s, options.workers, self.ending.stop)
        if floor is not None:
            found = f"noise floor p50 {floor.stamp_p50_s * 1e3:.2g} ms, p99 {floor.stamp_p99_s * 1e3:.2g} ms"
            self.record.emit("phase.preflight", f"{found} ({floor.load})")

    def go_on(self, resumed: Resumed) -> None:
        """From here on the run is one that was resumed."""
        self.record.save(resumed=(*self.record.info.resumed, resumed))
        text = f"after {resumed.gap_s:.0f} s; {resumed.left:,} requests are left, {resumed.lost:,} were lost"
        self.record.emit(RESUMED, text, at_s=resumed.at_s)

    async def send(
        self, leg: Leg, request: Request, faults: Sequence[FaultSpec] = (), early: EarlyEnd | None = None
    ) -> None:
        """Send what was written, take in what comes of it, and stop where the operator or `early` says so.

        `request` gives each by the journal's index. Raises TargetError, or HarnessError where the load workers cannot
        be started.
        """
        if self.ending.over:  # what has no observation counts as unsent
            if self.ending.stop.is_set():
                self.record.interrupt("stopped by the operator before anything of this plan was sent")
            return
        options = self.options
        self._early = early
        intake = Intake(self.journal, self.live, self.drift, request, self.record.emit, early)
        vias = {KINDS[fault.kind].via for fault in faults}
        await self.injectors.ready(vias, options.inject)
        way: Target | InPath = self.target
        # a plan goes by the same road whatever was sent before it: what a search finds is replayed alone
        if self.injectors.proxy is not None and (Via.PROXY in vias or options.inject):
            way, self.instrument.proxy_died = self.injectors.proxy, self.injectors.proxy_died
        pool = LoadPool(leg.plan, way.base_url, api_keys(options), options.workers, road=way.road)
        try:
            await pool.prepare()
            self.instrument.watch(pool)
            pool.start(self.clock.start())
            self._phase = "running"
            text = f"{len(leg.plan):,} requests, plan {self.record.info.plan_hash[:16]}"
            self.record.emit(PHASE_RUN, text, at_s=float(leg.plan.due_ns[0]) / NS)
            await beside(
                self._receive(pool, leg, intake),
                self.faults.follow(faults),
                self.ending.obey_operator(pool),
                self.ending.obey_conditions(pool),
                self.ending.obey_gates(pool, intake),
                self.ending.obey_road(pool, self.injectors.proxy_died),
                self._keep_slots(),
            )
        finally:
            self.clock.hold()
            await pool.close()

    async def _keep_slots(self) -> None:
        """Keep the slots of a matrix apart, where there is one."""
        if (matrix := self.options.scenario.matrix) is None:
            return
        slots = CleanSlots(matrix, self.target, lambda: self.clock.now_s, self.record.emit)
        self._watchers.append(slots.see)
        try:
            await slots.follow()
        finally:
            self._watchers.remove(slots.see)

    async def _receive(self, pool: LoadPool, leg: Leg, intake: Intake) -> None:
        """Take in what the workers report, until every planned request has its observation."""
        sent_before = self.live.sent
        async for batch in pool.batches():
            self.live.sent, self.live.in_flight = sent_before + batch.totals.sent, batch.totals.in_flight
            await intake.take(leg.journalled(batch.observations))

    async def judge(self) -> ResultDocument:
        """Write the document of everything that was taken in."""
        if self.record.info.state == "running":
            self.record.save(state="done")
        self._tick()
        self._phase = "judging"
        self.record.emit(PHASE_JUDGE, f"{self.live.outcomes.total():,} requests are over")
        self.journal.commit()
        document = await judged(self.journal.path)
        self.journal.set_document(document)
        self._phase = "done"
        self.record.emit(PHASE_DONE, f"{document.verdict}: {document.why}")
        self._tick()
        self.journal.commit()
        return document

    # ---- what goes on beside it

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            next_at = loop.time() + TICK_S
            await self.commands.obey()
            self._tick()
            await self.record.written()
            await asyncio.sleep(max(0.0, next_at - loop.time()))

    def _tick(self) -> None:
        now_s = self.clock.now_s
        scenario = self.options.scenario
        waiting = self.live.planned - self.live.outcomes.total() - self.live.in_flight  # turns of sessions come later
        if self._phase == "running" and now_s > scenario.length_s and not waiting:
            self._phase = "draining"
        tick = draw_tick(
            now_s,
            self._phase,
            scenario,
            self.live,
            self.drift,
            self.telemetry,
            self.instrument,
            self.faults,
            self._early.verdicts() if self._early else {},
        )
        self.record.tick(tick)
        if self.clock.moves:
            for see in self._watchers:
                see(tick)
        if self.record.kept and self._phase not in ("judging", "done"):  # the document is made of these
            facts = worst_of(self.facts_before, self.instrument.facts())
            self.journal.set_meta(INSTRUMENT, msgspec.json.encode(facts).decode())
            self.journal.set_meta(DRIFT, msgspec.json.encode(self.drift.facts()).decode())

    def setting(self) -> Setting:
        return Setting(
            target=self.options.target,
            launched=bool(self.options.launch),
            has_pid=bool(self.options.target_pid),
            gpus=len(self.telemetry.gpus),
            gpu_note=self.telemetry.gpu_note,
        )

    def _on_engine_event(self, event: EngineEvent) -> None:
        text = f"engine {event.kind}" + (f": {event.detail}" if event.detail else "")
        self.record.emit(f"engine.{event.kind}", text)


def drift_start_s(scenario: Scenario) -> float | None:
    """When the workload begins to turn; None without drift."""
    drift = scenario.workload.drift
    return None if drift is None else drift.start * scenario.arrivals.duration_s
