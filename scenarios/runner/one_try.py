"""One try of a chaos search, from a target in a clean state to its judgement: a leg of the run like any other."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scenarios.chaos.gates import Held, Known, beyond, failed, gates_of, judge_try
from scenarios.chaos.one_try import Try, in_words
from scenarios.chaos.written import scenario_of
from scenarios.drift import DriftMonitor
from scenarios.journal import JournalReader
from scenarios.plan import Plan, make_plan
from scenarios.rebuild import fired_faults
from scenarios.request import PlannedRequest
from scenarios.result import GateResult
from scenarios.runner.clock import NS
from scenarios.runner.leg import Leg
from scenarios.summary import SummaryContext, stored_columns
from scenarios.summary.window import cut
from scenarios.tick import Event
from scenarios.toml.keys import MOST_REQUESTS

if TYPE_CHECKING:
    from scenarios.runner.trial import Trial


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a try: `count` requests of the run from index `first` on, from `start_s` of the run.

    held, gates: by what it was judged, and how. refused: kinds that could not be brought about, and why. whole: it was
    not cut short.
    """

    one: Try
    held: tuple[Held, ...]
    gates: tuple[GateResult, ...]
    refused: tuple[tuple[str, str], ...]
    whole: bool
    first: int
    count: int
    start_s: float

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the gates that failed; of a try that was cut short none counts."""
        return failed(self.gates) if self.whole else ()

    @property
    def worse(self) -> bool:
        """Whether anything lay beyond its bound."""
        return beyond(self.held, self.gates)


class Attempts:
    """Makes tries, one after the other, in one run. number: of those that were begun. base: what they vary."""

    def __init__(self, trial: Trial) -> None:
        self.number = 0
        self.base = trial.options.scenario
        self._trial = trial
        self._next_index = 0
        self._plan_hash = hashlib.sha256()

    @property
    def over(self) -> bool:
        """Whether no more can be made: the run was stopped, or the way to the target is gone."""
        return self._trial.ending.over or self._trial.injectors.proxy_died.done()

    async def make(self, one: Try, known: Known, why: str) -> Judged:
        """Send its requests under its faults, and judge what came of it."""
        trial, base = self._trial, self.base
        if self.number:
            trial.live.stage = "the target is put into a clean state"
            await trial.target.restore()
        self.number += 1
        first, start_ns = self._next_index, trial.clock.next_due_ns
        plan = await asyncio.to_thread(make_plan, scenario_of(base, one), trial.options.seed, trial.target.wire_model)
        plan = _from(plan, start_ns)
        leg = Leg(plan, np.arange(first, first + len(plan)))
        self._next_index += len(plan)
        await self._write(leg)
        trial.live.stage = f"try {self.number}, {why}: {in_words(one)}"
        trial.record.emit("chaos.try", f"{self.number}, {why}: {in_words(one)}")
        trial.journal.commit()
        told = self._told()
        faults = [dataclasses.replace(fault, at_s=fault.at_s + start_ns / NS) for fault in one.faults]
        await trial.send(leg, lambda index: msgspec.structs.replace(plan[index - first], index=index), faults)
        trial.journal.commit()
        held = gates_of(base, one, known)
        events = self._told()[len(told) :]
        results = await asyncio.to_thread(self._judge, one, held, leg, events)
        return Judged(one, held, results, _refused(events), not self.over, first, len(plan), start_ns / NS)

    async def _write(self, leg: Leg) -> None:
        """Journal the plan; the run's plan hash covers all tries so far."""
        trial = self._trial
        await trial.write_plan(leg)
        self._plan_hash.update(bytes.fromhex(trial.record.info.plan_hash))
        trial.record.save(plan_hash=self._plan_hash.hexdigest())
        if self.number == 1:
            trial.drift = DriftMonitor(MOST_REQUESTS)  # nobody knows how many will come: few comparisons
            await trial.measure_noise(leg.plan)

    def _told(self) -> list[Event]:
        with JournalReader(self._trial.journal.path) as reader:
            return [event for _, event in reader.events()]

    def _judge(self, one: Try, held: Sequence[Held], leg: Leg, events: Sequence[Event]) -> tuple[GateResult, ...]:
        """By the road that a report takes, from the journal."""
        trial = self._trial
        with JournalReader(trial.journal.path) as reader:
            whole = stored_columns(reader)
        assert leg.numbers is not None
        columns = cut(whole, np.isin(whole.index, leg.numbers))
        context = SummaryContext(
            slo=trial.options.scenario.slo,
            arrivals=one.arrivals,
            faults=fired_faults(events, trial.clock.now_s),
            engine_restarts=sum(event.kind == "engine.died" for event in events) if trial.target.owned else None,
            ours=trial.target.owned,
        )
        return judge_try(held, columns, context, float(leg.plan.due_ns[0]) / NS - one.at_s[0])


def _from(plan: Plan, start_ns: int) -> Plan:
    """The same requests, due so much later."""

    def make(at: int) -> PlannedRequest:
        request = plan[at]
        return msgspec.structs.replace(request, due_ns=request.due_ns + start_ns)

    return Plan(plan.due_ns + start_ns, plan.root, make)


def _refused(events: Sequence[Event]) -> tuple[tuple[str, str], ...]:
    return tuple((event.fault.kind, event.text) for event in events if event.kind == "fault.skipped" and event.fault)
