"""One run, from an empty journal to a verdict in it."""

from __future__ import annotations

import asyncio
from contextlib import closing

from scenarios.gates import EarlyEnd
from scenarios.journal import JournalWriter
from scenarios.plan import Plan, make_plan
from scenarios.result import ResultDocument
from scenarios.runner.chaos import search_chaos
from scenarios.runner.leg import Leg
from scenarios.runner.options import RunOptions, planned_faults
from scenarios.runner.planning import requests_of
from scenarios.runner.record import OnEvent, OnTick
from scenarios.runner.search import search_capacity
from scenarios.runner.trial import Trial
from scenarios.runs import journal_path


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
    scenario = options.scenario
    story = _one_plan
    if scenario.search is not None:
        story = search_capacity
    elif scenario.chaos is not None:
        story = search_chaos
    with closing(JournalWriter(journal_path(options.runs_dir, options.run_id), options.scenario.keep)) as journal:
        trial = Trial(options, journal, on_tick, on_event, stop)
        return await trial.run(story)


async def _one_plan(trial: Trial) -> ResultDocument:
    """The story of an ordinary run."""
    options = trial.options
    await trial.start_target()
    plan = await trial.ending.unless_stopped(
        asyncio.to_thread(make_plan, options.scenario, options.seed, trial.target.wire_model)
    )
    await trial.write_plan(Leg(plan))
    await trial.measure_noise(plan)
    with requests_of(trial.journal.path, None if options.scenario.keep.prompts else plan) as request:
        plan = Plan(plan.due_ns, plan.root, request)  # what made it, a third of its memory, is not needed any more
        await trial.send(Leg(plan), request, planned_faults(options), EarlyEnd(options.scenario))
    return await trial.judge()
