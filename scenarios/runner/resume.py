"""A run that ended early, taken up where it ended. The rule is in docs/decisions/007-resume.md."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from scenarios.definition import FaultSpec, Scenario
from scenarios.drift import DriftMonitor
from scenarios.errors import NotResumable
from scenarios.journal import JournalReader, JournalWriter
from scenarios.metrics import ODD_PROFILE
from scenarios.plan import Plan, make_plan
from scenarios.rebuild import INSTRUMENT, SCENARIO, SETTLED, Facts, stopped_at
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, Resumed, RunInfo
from scenarios.runner.clock import NS, RunClock
from scenarios.runner.options import Means, RunOptions, planned_faults
from scenarios.runner.planning import requests_of
from scenarios.runner.record import ALIVE_AT, MEANS, OnEvent, OnTick
from scenarios.runner.rest import Rest, journalled, rest_of
from scenarios.runner.trial import Trial, drift_start_s
from scenarios.summary import stored_columns
from scenarios.tick import Event
from scenarios.wall_clock import WALL_CLOCK

_ENDED = "SELECT o.idx, o.end_ns, j.correct FROM observation o LEFT JOIN judged j USING (idx) ORDER BY o.end_ns, o.idx"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run as its journal left it."""

    info: RunInfo
    options: RunOptions
    until_s: float  # when it stopped to send
    alive_at: float  # Unix time of its last sign of life
    faults: tuple[FaultSpec, ...]  # those that had not come yet
    faults_come: int  # how many had
    events: tuple[Event, ...]
    facts: Facts  # of the instrument, so far
    decided: bool  # its gates had ended it: the rest is not sent
    last_command: int


def read_interrupted(path: Path) -> Interrupted:
    """What can be resumed. Raises NotResumable, JournalError."""
    with JournalReader(path) as reader:
        info = reader.run()
        if info.state == "done":
            raise NotResumable(f"run {info.id} is complete; `seatrial show {info.id}` has its verdict")
        if info.state == "aborted":
            what = f"run {info.id} was aborted by a condition of its scenario (`seatrial show {info.id}` says which)"
            raise NotResumable(f"{what}; mend what it was aborted for, then start it anew with `seatrial run`")
        scenario_json, means_json, alive_at = (reader.meta(key) for key in (SCENARIO, MEANS, ALIVE_AT))
        if not info.plan_hash or scenario_json is None or means_json is None or alive_at is None:
            what = f"run {info.id} ended before its plan was written and nothing was sent"
            raise NotResumable(f"{what}; start it anew with `seatrial run`")
        scenario = msgspec.json.decode(scenario_json, type=Scenario)
        if scenario.search is not None or scenario.chaos is not None:
            what = f"run {info.id} was a search, and what it would have tried next depends on what it finds"
            raise NotResumable(f"{what}; start it anew with `seatrial run`")
        means = msgspec.json.decode(means_json, type=Means)
        events = [event for _, event in reader.events()]
        until_s = stopped_at(events, reader.last_tick())
        commands = reader.commands()
        options = RunOptions(
            scenario=scenario,
            seed=info.seed,
            runs_dir=path.absolute().parent.parent,
            run_id=path.absolute().parent.name,
            target=means.target,
            road=means.road,
            model=None if means.model is None else Path(means.model),
            workers=means.workers,
            preflight_s=means.preflight_s,
            inject=means.inject,
            launch=means.launch,
            launch_timeout_s=means.launch_timeout_s,
            target_pid=means.target_pid,
        )
        faults = planned_faults(options)
        to_come = tuple(fault for fault in faults if fault.at_s > until_s)
        return Interrupted(
            info=info,
            options=options,
            until_s=until_s,
            alive_at=float(alive_at),
            faults=to_come,
            faults_come=len(faults) - len(to_come),
            events=tuple(events),
            facts=msgspec.json.decode(reader.meta(INSTRUMENT) or "{}", type=Facts),
            decided=reader.meta(SETTLED) is not None,
            last_command=commands[-1][1].id if commands else 0,
        )


async def resume_trial(
    path: Path, api_key_env: str | None, on_tick: OnTick, on_event: OnEvent, stop: asyncio.Event, own: bool = False
) -> ResultDocument:
    """Finish the plan of a run that ended early; `api_key_env` names the variable with the target's key.

    own: a target other than this machine may be disturbed. As run_trial otherwise.

    Raises:
        NotResumable: the run is complete or has no plan, the target serves another model now, or a redacted plan can no
            longer be made.
    """
    before = read_interrupted(path)
    options = dataclasses.replace(before.options, api_key_env=api_key_env, own_target=own)
    with JournalReader(path) as reader:
        rest = rest_of(journalled(reader), round(before.until_s * NS))
    first_due_s = rest.first_due_s if len(rest.numbers) else before.until_s
    with closing(JournalWriter.reopen(path, options.scenario.keep)) as journal:
        trial = Trial(options, journal, on_tick, on_event, stop)
        trial.clock = RunClock(first_due_s, shown_s=before.until_s)
        trial.record.info = msgspec.structs.replace(before.info, state="running")
        trial.facts_before = before.facts
        trial.record.kept = False
        trial.commands.taken = before.last_command
        return await trial.run(partial(_rest_of_run, before, rest, first_due_s))


async def _rest_of_run(before: Interrupted, rest: Rest, first_due_s: float, trial: Trial) -> ResultDocument:
    """The story of the rest; nothing of the journal is changed before target and plan are found to be the same."""
    await trial.start_target()
    if trial.record.info.model != before.info.model:
        what = f"{before.info.target} serves {trial.record.info.model!r} now, the run was against {before.info.model!r}"
        raise NotResumable(f"{what}; start that model again, or a new run")
    plan = await trial.ending.unless_stopped(_plan_made_anew(before, trial))
    gap_s = max(0.0, WALL_CLOCK.now_s() - before.alive_at)
    left = 0 if before.decided else len(rest.numbers)
    trial.journal.forget_end()
    trial.journal.add_observations(rest.lost)
    trial.record.begin()
    trial.faults.take_up(before.events, before.until_s, before.faults_come)  # their ends come before the return
    trial.go_on(Resumed(at_s=first_due_s, gap_s=gap_s, left=left, lost=len(rest.lost)))
    trial.journal.commit()
    trial.clock = RunClock(first_due_s)  # were it to end before the first is sent, it would have stopped right there
    with requests_of(trial.journal.path, plan) as request:
        with JournalReader(trial.journal.path) as reader:
            trial.live.take_up(await asyncio.to_thread(stored_columns, reader))
            trial.drift = await asyncio.to_thread(_drift, reader, before.options.scenario, request)
        if left:
            leg = rest.leg(request)
            await trial.measure_noise(leg.plan)
            await trial.send(leg, request, before.faults)
    return await trial.judge()


async def _plan_made_anew(before: Interrupted, trial: Trial) -> Plan | None:
    """The plan where the journal holds no prompts; None where it is to be read there."""
    options = before.options
    if options.scenario.keep.prompts:
        return None

    def made() -> tuple[Plan, str]:
        plan = make_plan(options.scenario, options.seed, trial.target.wire_model)
        return plan, plan.hash

    plan, its_hash = await asyncio.to_thread(made)
    if its_hash != before.info.plan_hash:
        what = "its prompts were redacted, and scenario and seed no longer make the plan that was being sent"
        raise NotResumable(f"run {before.info.id}: {what}; resume it with the version and files it was started with")
    return plan


def _drift(reader: JournalReader, scenario: Scenario, request: Callable[[int], PlannedRequest]) -> DriftMonitor:
    """Drift as it stood: everything that ended, in that order."""
    odd = reader.count("plan", f"profile = '{ODD_PROFILE}'")
    monitor = DriftMonitor(reader.count("plan") - odd, drift_start_s(scenario))
    for block in reader.blocks_of(_ENDED):
        for index, end_ns, correct in block:
            monitor.add(end_ns / NS, request(index), None if correct is None else bool(correct))
    return monitor
