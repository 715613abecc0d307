"""One run, from an empty journal to a verdict in it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import numpy as np

from engine.supervisor import EngineEvent
from engine.telemetry import describe_machine
from scenarios.definition import FaultSpec, Scenario
from scenarios.drift import DriftMonitor
from scenarios.errors import JournalError, StoppedEarly
from scenarios.gates import EarlyEnd
from scenarios.journal import JournalReader, JournalWriter
from scenarios.load.pool import LoadPool
from scenarios.plan import Plan, make_plan
from scenarios.rebuild import (
    DRIFT,
    GATES_DECIDED,
    INSTRUMENT,
    PHASE_DONE,
    PHASE_JUDGE,
    RESUMED,
    SCENARIO,
    SETTLED,
    Facts,
    worst_of,
)
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, Resumed, RunInfo
from scenarios.runner.clock import NS, RunClock
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.instrument import InstrumentWatch
from scenarios.runner.intake import Intake
from scenarios.runner.judging import judged
from scenarios.runner.leg import Leg
from scenarios.runner.live import LiveRun
from scenarios.runner.options import RunOptions, means_of
from scenarios.runner.planning import PlanWriter, StoredRequests
from scenarios.runner.search import search_capacity
from scenarios.runner.target import EmbeddedTarget, RemoteTarget, Target
from scenarios.runner.telemetry import Telemetry
from scenarios.runner.ticks import TICK_S, draw_tick
from scenarios.runs import journal_path
from scenarios.tick import Event, Tick

STOP_GRACE_S = 2.0

MEANS, ALIVE_AT = "means", "alive_at"  # keys in the journal's meta table

_STOPPED = "run {} was stopped while it was being prepared; nothing was sent"

T = TypeVar("T")
Request = Callable[[int], PlannedRequest]
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
        StoppedEarly: `stop` was set before the plan was written.
        HarnessError: the load workers cannot be started.
    """
    search = options.scenario.search
    with closing(JournalWriter(journal_path(options.runs_dir, options.run_id), options.scenario.keep)) as journal:
        trial = Trial(options, journal, on_tick, on_event, stop)
        return await trial.run(_one_plan if search is None else search_capacity)


async def _one_plan(trial: Trial) -> ResultDocument:
    """The story of an ordinary run."""
    options = trial.options
    await trial.start_target()
    plan = await trial.unless_stopped(
        asyncio.to_thread(make_plan, options.scenario, options.seed, trial.target.wire_model)
    )
    await trial.write_plan(Leg(plan))
    await trial.measure_noise(plan)
    with trial.requests(plan) as request:
        plan = Plan(plan.due_ns, plan.root, request)  # what made it, a third of its memory, is not needed any more
        await trial.send(Leg(plan), request, options.scenario.faults, EarlyEnd(options.scenario))
    return await trial.judge()


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
        self.target: Target = (
            RemoteTarget(options) if options.target else EmbeddedTarget(options, self._on_engine_event)
        )
        self.telemetry = Telemetry(self.target)
        self.instrument = InstrumentWatch(self.telemetry)
        self.live = LiveRun(np.empty(0, dtype=np.int64), options.scenario.slo)
        self.drift = DriftMonitor(planned=0)
        self.info = RunInfo(
            id=options.run_id,
            scenario=options.scenario.name,
            seed=options.seed,
            plan_hash="",
            target=self.target.describe,
            model=self.target.model,
            started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            environment={**describe_machine(), "gpu_note": self.telemetry.gpu_note, "engine_ours": self.target.owned},
            state="running",
        )
        self.commands_taken = 0  # the id of the last one
        self.facts_before: Facts = {}  # of the instrument, from before the run was resumed
        self.on_record = True  # False: nothing is journalled until `go_on`, whatever comes of it
        self._on_tick = on_tick
        self._on_event = on_event
        self._stop = stop
        self._phase = "preparing"
        self._early: EarlyEnd | None = None
        self._faults = FaultBoard(self.target, lambda: self.clock.now_s, self.emit)

    async def run(self, story: Callable[[Trial], Coroutine[Any, Any, T]]) -> T:
        """Follow the story. Whatever happens, target and workers are ended and the journal says how it was."""
        try:
            if self.on_record:
                self._begin_record()
                self.journal.commit()
            return await _beside(story(self), self.telemetry.follow(), self._ticking())
        except BaseException as error:
            if self.on_record and not isinstance(error, JournalError) and self._phase != "done":
                if isinstance(error, asyncio.CancelledError | StoppedEarly):
                    self._interrupt("stopped by the operator, at once")
                else:
                    self.emit("run.failed", str(error) or type(error).__name__)
                    self.save_info(state="failed")
                self.journal.commit()
            raise
        finally:
            await self.target.stop()
            self.telemetry.close()

    def _begin_record(self) -> None:
        self.on_record = True
        self.journal.set_meta("runner_pid", str(os.getpid()))
        self.journal.set_meta(SCENARIO, msgspec.json.encode(self.options.scenario).decode())
        self.journal.set_meta(MEANS, msgspec.json.encode(means_of(self.options)).decode())
        self.save_info()

    @property
    def stopped(self) -> bool:
        """Whether the operator ended the run."""
        return self._stop.is_set()

    # ---- what a story is made of

    async def start_target(self) -> None:
        """Start or reach the target. Raises TargetError, StoppedEarly."""
        self.emit("phase.prepare", f"starting: {self.target.describe}")
        await self.unless_stopped(self.target.start())
        self.save_info(model=self.target.model)

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`, which is cancelled where the operator ends the run first. Raises StoppedEarly then."""
        working, stopping = asyncio.ensure_future(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise StoppedEarly(_STOPPED.format(self.info.id))
            return working.result()
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait((working,))

    async def write_plan(self, leg: Leg) -> None:
        """Journal a plan in a thread, block by block; the run's plan hash is that of the last one written.

        Raises StoppedEarly where the operator ends the run before its first plan is written.
        """
        loop = asyncio.get_running_loop()

        def say(count: int) -> None:
            text = f"planned {count:,} of {len(leg.plan):,} requests"
            loop.call_soon_threadsafe(self.emit, "phase.plan", text)

        writer = PlanWriter(leg, self.journal, say)
        stopping = asyncio.create_task(self._stop.wait())
        if not self.info.plan_hash:  # a later plan is short, and what came of those before it is to be judged
            stopping.add_done_callback(lambda _: writer.stop())
        try:
            planned = await asyncio.to_thread(writer.write)
        except InterruptedError:
            raise StoppedEarly(_STOPPED.format(self.info.id)) from None
        finally:
            stopping.cancel()
            writer.stop()
        self.save_info(plan_hash=planned.hash)
        self.journal.commit()
        if not self.live.planned:  # drift is watched from the first plan on
            self.drift = DriftMonitor(len(leg.plan) - planned.odd, drift_start_s(self.options.scenario))
        self.live.extend(leg.plan.due_ns)

    async def measure_noise(self, plan: Plan) -> None:
        """Measure what this machine can measure today, before the first request of such a plan. Raises HarnessError."""
        self._phase = "preflight"
        options = self.options
        self.emit("phase.preflight", f"measuring this machine's noise floor for {options.preflight_s:g} s")
        floor = await self.instrument.preflight(plan.due_ns, options.preflight_s, options.workers, self._stop)
        if floor is not None:
            found = f"noise floor p50 {floor.stamp_p50_s * 1e3:.2g} ms, p99 {floor.stamp_p99_s * 1e3:.2g} ms"
            self.emit("phase.preflight", f"{found} ({floor.load})")

    @contextmanager
    def requests(self, plan: Plan | None) -> Iterator[Request]:
        """Every request by the journal's index: read from there, or made by `plan` where it holds no prompts."""
        if plan is not None and not self.options.scenario.keep.prompts:
            yield plan.__getitem__
            return
        with JournalReader(self.journal.path) as reader:
            yield StoredRequests(reader).__getitem__

    def go_on(self, resumed: Resumed) -> None:
        """From here on the run is one that was resumed."""
        self._begin_record()
        self.save_info(resumed=(*self.info.resumed, resumed))
        text = f"after {resumed.gap_s:.0f} s; {resumed.left:,} requests are left, {resumed.lost:,} were lost"
        self.emit(RESUMED, text, at_s=resumed.at_s)

    async def send(
        self, leg: Leg, request: Request, faults: Sequence[FaultSpec] = (), early: EarlyEnd | None = None
    ) -> None:
        """Send what was written, take in what comes of it, and stop where the operator or `early` says so.

        `request` gives each by the journal's index. Raises TargetError, or HarnessError where the load workers cannot
        be started.
        """
        if self.stopped:  # what has no observation counts as unsent
            self._interrupt("stopped by the operator before anything of this plan was sent")
            return
        options = self.options
        variables = {tenant.name: tenant.key_env for tenant in options.scenario.workload.tenants}
        variables[""] = options.api_key_env or ""
        keys = {tenant: os.environ.get(variable, "") for tenant, variable in variables.items()}
        self._early = early
        intake = Intake(self.journal, self.live, self.drift, request, self.emit, early)
        pool = LoadPool(leg.plan, self.target.base_url, keys, options.workers, road=self.target.road)
        try:
            await pool.prepare()
            self.instrument.watch(pool)
            pool.start(self.clock.start())
            self._phase = "running"
            text = f"{len(leg.plan):,} requests, plan {self.info.plan_hash[:16]}"
            self.emit("phase.run", text, at_s=float(leg.plan.due_ns[0]) / NS)
            await _beside(
                self._receive(pool, leg, intake),
                self._faults.follow(faults),
                self._obey_stop(pool),
                self._obey_gates(pool, intake),
            )
        finally:
            self.clock.hold()
            await pool.close()

    async def _receive(self, pool: LoadPool, leg: Leg, intake: Intake) -> None:
        """Take in what the workers report, until every planned request has its observation."""
        sent_before = self.live.sent
        async for batch in pool.batches():
            self.live.sent, self.live.in_flight = sent_before + batch.totals.sent, batch.totals.in_flight
            await intake.take(leg.journalled(batch.observations))

    async def _obey_stop(self, pool: LoadPool) -> None:
        await self._stop.wait()
        self._interrupt(f"stopped by the operator; what is in flight gets {STOP_GRACE_S:g} s")
        await pool.stop(STOP_GRACE_S)

    def _interrupt(self, how: str) -> None:
        """Journal, once, that the operator ended the run."""
        if self.info.state != "interrupted":
            self.emit("operator.stop", how)
            self.save_info(state="interrupted")

    async def _obey_gates(self, pool: LoadPool, intake: Intake) -> None:
        """End the run once its gates have decided it, if there is anything left to send."""
        found, totals = await intake.decided, pool.totals
        if self._stop.is_set() or totals.sent >= totals.planned:
            return
        self.journal.set_meta(SETTLED, str(found.settled))
        self.emit(GATES_DECIDED, f"{found.why}; the rest of the plan is not sent")
        await pool.stop(STOP_GRACE_S)

    async def judge(self) -> ResultDocument:
        """Write the document of everything that was taken in."""
        if self.info.state == "running":
            self.save_info(state="done")
        self._tick()
        self._phase = "judging"
        self.emit(PHASE_JUDGE, f"{self.live.outcomes.total():,} requests are over")
        self.journal.commit()
        document = await judged(self.journal.path)
        self.journal.set_document(document)
        self._phase = "done"
        self.emit(PHASE_DONE, f"{document.verdict}: {document.why}")
        self._tick()
        self.journal.commit()
        return document

    def emit(self, kind: str, text: str, recovery_s: float | None = None, at_s: float | None = None) -> None:
        """Journal an event and show it."""
        event = Event(t_s=self.clock.now_s if at_s is None else at_s, kind=kind, text=text, recovery_s=recovery_s)
        if self.on_record:
            self.journal.add_event(event)
        self._on_event(event)

    def save_info(self, **changes: object) -> None:
        """Journal what the run is now."""
        self.info = msgspec.structs.replace(self.info, **changes)
        if self.on_record:
            self.journal.set_run(self.info)

    # ---- what goes on beside it

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as injected:
            while True:
                next_at = loop.time() + TICK_S
                for command in await asyncio.to_thread(self.journal.take_commands, self.commands_taken):
                    self.commands_taken = command.id
                    match command.kind:
                        case "stop":
                            self._stop.set()
                        case "fault" if not self.clock.moves:
                            self.emit("fault.refused", f"{command.argument}: the run has not started yet")
                        case "fault":
                            injected.create_task(self._faults.inject(FaultSpec(command.argument, self.clock.now_s)))
                        case _:
                            self.emit("operator.unknown", f"no command {command.kind}")
                self._tick()
                await asyncio.to_thread(self.journal.commit)
                await asyncio.sleep(max(0.0, next_at - loop.time()))

    def _tick(self) -> None:
        now_s = self.clock.now_s
        scenario = self.options.scenario
        waiting = self.live.planned - self.live.outcomes.total() - self.live.in_flight  # turns of sessions come later
        if self._phase == "running" and now_s > scenario.arrivals.duration_s and not waiting:
            self._phase = "draining"
        tick = draw_tick(
            now_s,
            self._phase,
            scenario,
            self.live,
            self.drift,
            self.telemetry,
            self.instrument,
            self._faults,
            self._early.verdicts() if self._early else {},
        )
        if self.on_record:
            self._journal_tick(tick)
        self._on_tick(tick)

    def _journal_tick(self, tick: Tick) -> None:
        self.journal.add_tick(tick)
        self.journal.set_meta(ALIVE_AT, str(time.time()))
        if self._phase not in ("judging", "done"):  # the document is made of these: from there on they stay
            facts = worst_of(self.facts_before, self.instrument.facts())
            self.journal.set_meta(INSTRUMENT, msgspec.json.encode(facts).decode())
            self.journal.set_meta(DRIFT, msgspec.json.encode(self.drift.facts()).decode())

    def _on_engine_event(self, event: EngineEvent) -> None:
        text = f"engine {event.kind}" + (f": {event.detail}" if event.detail else "")
        self.emit(f"engine.{event.kind}", text)


def drift_start_s(scenario: Scenario) -> float | None:
    """When the workload begins to turn; None without drift."""
    drift = scenario.workload.drift
    return None if drift is None else drift.start * scenario.arrivals.duration_s


async def _beside(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
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
    return work.result()
