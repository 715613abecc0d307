"""The story of a run that searches for the service's capacity: probe after probe, each a plan of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scenarios.capacity.planned import PlannedProbe, probes_of
from scenarios.capacity.probe import Kind, Probe
from scenarios.capacity.search import Next, conclude, decide, holds, rules_of
from scenarios.definition import ArrivalKind, Arrivals, Scenario, Search
from scenarios.drift import DriftMonitor
from scenarios.errors import DefinitionErrors
from scenarios.journal import JournalReader
from scenarios.plan import Plan, make_plan
from scenarios.rebuild import PROBES
from scenarios.report.words import seconds, share
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument
from scenarios.runner.clock import NS
from scenarios.runner.leg import Leg
from scenarios.summary import stored_columns
from scenarios.toml.keys import MOST_REQUESTS

if TYPE_CHECKING:
    from scenarios.runner.trial import Trial


async def search_capacity(trial: Trial) -> ResultDocument:
    """The story of a search: probe until the capacity is known, probes or time are used up, or the operator stops it.

    A probe begins when every request of the one before is over: what one leaves behind cannot spoil the next.
    """
    scenario = trial.options.scenario
    search = scenario.search or Search()
    rules = rules_of(scenario, search)
    await trial.start_target()
    begun = time.monotonic()
    planned: list[PlannedProbe] = []
    probes: tuple[Probe, ...] = ()
    plan_hash = hashlib.sha256()
    while isinstance(step := decide(rules, probes, time.monotonic() - begun), Next):
        try:
            await _send(trial, step, search, planned, plan_hash)
        except DefinitionErrors:
            if not planned:
                raise
            break  # not one request comes due at a rate as low as this
        probes = await asyncio.to_thread(_measured, trial, planned)
        if len(probes) == len(planned):
            trial.record.emit("search.probe", _sentence(len(probes), probes[-1], search))
        if trial.ending.over or len(probes) < len(planned):
            break
    trial.record.emit("search.end", conclude(rules, probes).why)
    return await trial.judge()


async def _send(
    trial: Trial, step: Next, search: Search, planned: list[PlannedProbe], plan_hash: hashlib._Hash
) -> None:
    """One probe, from its plan to the end of its last request; the run's plan hash covers all probes so far."""
    first = planned[-1].first + planned[-1].count if planned else 0
    start_ns, number = trial.clock.next_due_ns, len(planned) + 1
    options = trial.options
    plan = await asyncio.to_thread(
        probe_plan, options.scenario, step, options.seed, number, start_ns, trial.target.wire_model
    )
    planned.append(
        PlannedProbe(
            kind=step.kind,
            rate=step.rate,
            end_rate=step.end_rate,
            duration_s=step.duration_s,
            start_s=start_ns / NS,
            first=first,
            count=len(plan),
        )
    )
    trial.journal.set_meta(PROBES, msgspec.json.encode(planned).decode())
    leg = Leg(plan, np.arange(first, first + len(plan)))
    await trial.write_plan(leg)
    plan_hash.update(bytes.fromhex(trial.record.info.plan_hash))
    trial.record.save(plan_hash=plan_hash.hexdigest())
    if number == 1:
        trial.drift = DriftMonitor(MOST_REQUESTS)  # nobody knows how many will come: few comparisons
        await trial.measure_noise(plan)
    trial.live.stage = f"probe {number} of at most {search.probes}, {_rates(step)}"
    await trial.send(leg, lambda index: msgspec.structs.replace(plan[index - first], index=index))


def probe_plan(scenario: Scenario, step: Next, seed: int, number: int, start_ns: int, model: str | None) -> Plan:
    """The requests of one probe, due from `start_ns`; each probe asks other things.

    What a service keeps of the prompts it has seen would otherwise make the later probes easier.
    """
    own_seed = int.from_bytes(hashlib.sha256(f"seatrial {seed} probe {number}".encode()).digest()[:6])
    plan = make_plan(dataclasses.replace(scenario, arrivals=arrivals_of(scenario.arrivals, step)), own_seed, model)

    def make(at: int) -> PlannedRequest:
        request = plan[at]
        return msgspec.structs.replace(request, due_ns=request.due_ns + start_ns)

    return Plan(plan.due_ns + start_ns, plan.root, make)


def arrivals_of(arrivals: Arrivals, step: Next) -> Arrivals:
    """The scenario's arrivals at the rate of a probe."""
    if step.kind is Kind.RAMP:
        return Arrivals(ArrivalKind.RAMP, step.duration_s, base=step.rate, peak=step.end_rate)
    return dataclasses.replace(arrivals, rate=step.rate, duration_s=step.duration_s)


def _measured(trial: Trial, planned: list[PlannedProbe]) -> tuple[Probe, ...]:
    """By the road that the report takes, from the journal."""
    trial.journal.commit()
    with JournalReader(trial.journal.path) as reader:
        return probes_of(planned, stored_columns(reader), trial.options.scenario.slo)


def _sentence(number: int, probe: Probe, search: Search) -> str:
    word = "holds" if holds(probe, search.share) else "does not hold"
    grew = f", backlog +{probe.backlog_per_s:.3g}/s" if probe.growing else ""
    ttft = f", TTFT p95 {seconds(probe.ttft_p95_s)}" if probe.ttft_p95_s is not None else ""
    return f"probe {number}: {_rates(probe)}, goodput {share(probe.good_share)}{ttft}{grew}: {word}"


def _rates(probe: Probe | Next) -> str:
    return f"{probe.rate:.3g}/s" if probe.kind is Kind.STEADY else f"{probe.rate:.3g} to {probe.end_rate:.3g}/s"
