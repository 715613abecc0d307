"""From a journal to its document: the one road to a verdict, taken at the end of a run and by every later report."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scenarios.capacity.document import capacity_of
from scenarios.capacity.planned import PlannedProbe, probes_of
from scenarios.capacity.search import rules_of
from scenarios.chaos.document import chaos_of, conclude_search, gates_of_search
from scenarios.chaos.record import ChaosRecord
from scenarios.definition import Phase, Scenario
from scenarios.errors import JournalError
from scenarios.gates import InstrumentError, judge, samples_of
from scenarios.journal import Answers, JournalReader
from scenarios.observation import Outcome
from scenarios.result import Capacity, ResultDocument
from scenarios.steady import why_uneven
from scenarios.summary import Columns, FiredFault, SummaryContext, measured_window, stored_columns, summarise_columns
from scenarios.tick import Event, FaultMark, Tick
from scenarios.verdict import conclude

SCENARIO, INSTRUMENT, DRIFT, PROBES, CHAOS = "scenario", "instrument", "drift", "probes", "chaos"  # keys of meta
SETTLED = "settled"  # of a run that its gates ended early: the first so many requests of the plan decided it
PHASE_RUN = "phase.run"  # the event that a plan is sent; its time is that of the first request
PHASE_JUDGE = "phase.judge"  # the event from which on nothing is read for the document
PHASE_DONE = "phase.done"  # the event that the document is followed by
RESUMED = "run.resumed"
GATES_DECIDED = "gates.decided"
SIGNS = frozenset({"engine.died", "engine.hung", "engine.stalled"})  # events by which the target shows that it failed
ABORT = "abort"  # a condition of the scenario held, which ended the run
FAULT_WITHHELD = "fault.withheld"  # the service was not steady before any fault, so none was brought about

_COUNTED = ("asleep_s", "major_faults", "worker_deaths", "proxy_deaths")

Facts = dict[str, float | int | bool | str | None]


def rebuild(reader: JournalReader) -> ResultDocument:
    """Summary, gates and verdict from the journal's rows alone.

    Also for a run that died or still goes on: requests without an observation then count as unsent, and the run cannot
    be GO.

    Raises:
        JournalError: the run ended before its plan was written.
    """
    scenario_json = reader.meta(SCENARIO)
    run = reader.run()
    if scenario_json is None or not run.plan_hash or not reader.count("plan"):
        raise JournalError(f"{reader.path}: the run ended before its plan was written; there is nothing to report")
    scenario = msgspec.json.decode(scenario_json, type=Scenario)
    interrupted = run.state != "done"
    columns = stored_columns(reader)
    instrument = _facts(reader, INSTRUMENT)
    ours = run.environment.get("engine_ours") is True
    told = [event for _, event in reader.events()]
    events = events_of_run(told)
    faults = fired_faults(events, _heard_s(reader, told))
    planned = scenario.faults or scenario.matrix
    objectives = [
        gate.minimum
        for gate in scenario.gates
        if gate.metric == "goodput" and gate.minimum is not None and gate.phase is Phase.WHOLE
    ]
    context = SummaryContext(
        slo=scenario.slo,
        arrivals=scenario.arrivals,
        faults=faults,
        instrument=instrument,
        drift=_facts(reader, DRIFT),
        engine_restarts=sum(event.kind == "engine.died" for event in events) if ours else None,
        ours=ours,
        capacity=_capacity(reader, scenario, columns),
        even=not why_uneven(scenario.workload, scenario.arrivals, bool(planned or faults), scenario.search is not None),
        signs_s=tuple(event.t_s for event in events if event.kind in SIGNS),
        objective=max(objectives) if objectives else None,
    )
    horizon_s = stopped_at(events, reader.last_tick()) if interrupted else None
    settled = None if (text := reader.meta(SETTLED)) is None else int(text)
    error = InstrumentError.of(instrument, _lost_share(columns, horizon_s, settled))
    measured = measured_window(columns, scenario.window, settled, cut_off=interrupted)
    samples = samples_of(columns, context, error, interrupted, measured, early=settled is not None)
    summary = summarise_columns(columns, context, measured)
    if scenario.chaos is None:
        gates = judge(scenario.gates, samples)
        verdict, why = conclude(gates, interrupted, ruled_out(events), error.spoils_all())
    else:  # its gates were asked about each try
        record = _chaos(reader)
        found = chaos_of(record)
        summary = msgspec.structs.replace(summary, chaos=found, faults=(), recovery=())  # each try had its own
        gates = gates_of_search(found, record.gates, error.spoils_all())
        verdict, why = conclude_search(found, gates, interrupted or record.cut_short)
    not_measured = summary.not_measured | _not_whole(columns, reader.answers())
    summary = msgspec.structs.replace(summary, not_measured=not_measured)
    return ResultDocument(verdict=verdict, why=why, run=run, summary=summary, gates=gates)


def ruled_out(events: Sequence[Event]) -> str:
    """Why the run is NO-GO whatever its gates say; empty where it is not."""
    for event in events:
        if event.kind == ABORT:
            return f"The run was aborted after {max(0.0, event.t_s):.1f} s: {event.text}."
    for event in events:
        if event.kind == FAULT_WITHHELD:
            return f"Faults were withheld: {event.text}."
    return ""


def _capacity(reader: JournalReader, scenario: Scenario, columns: Columns) -> Capacity | None:
    """What the probes of a search come to; None for a run without one."""
    if scenario.search is None:
        return None
    text = reader.meta(PROBES)
    planned = () if text is None else msgspec.json.decode(text, type=tuple[PlannedProbe, ...])
    probes = probes_of(planned, columns, scenario.slo)
    return capacity_of(rules_of(scenario, scenario.search), scenario.slo, probes)


def _chaos(reader: JournalReader) -> ChaosRecord:
    """What the journal holds of a chaos search."""
    text = reader.meta(CHAOS)
    return ChaosRecord() if text is None else msgspec.json.decode(text, type=ChaosRecord)


def fired_faults(events: Sequence[Event], heard_s: float) -> tuple[FiredFault, ...]:
    """The faults that were brought about, and those that could not be, in the order in which that happened.

    `heard_s`: when the runner was last heard of: a fault without an end was over then, as it was where a run that had
    died with it was resumed.
    """
    found: list[FiredFault] = []
    on: dict[int, int] = {}  # number -> place in `found`

    def end(place: int, at_s: float, mark: FaultMark | None = None) -> None:
        fault = found[place]
        found[place] = dataclasses.replace(fault, end_s=max(fault.at_s, at_s))
        if mark is not None:
            found[place] = dataclasses.replace(found[place], undone=mark.undone, facts=mark.facts)

    for event in events:
        mark = event.fault
        if event.kind == RESUMED:
            for place in on.values():
                end(place, event.t_s)
            on.clear()
        elif mark is None:
            continue
        elif event.kind == "fault.start":
            on[mark.number] = len(found)
            found.append(_fault(event, mark))
        elif event.kind == "fault.skipped":
            found.append(_fault(event, mark, why=event.text.removeprefix(f"{mark.kind}: ") or "no reason was given"))
        elif event.kind == "fault.end" and mark.number in on:
            end(on.pop(mark.number), event.t_s, mark)
    for place in on.values():
        end(place, heard_s)
    return tuple(found)


def _fault(event: Event, mark: FaultMark, why: str = "") -> FiredFault:
    return FiredFault(mark.number, mark.kind, event.t_s, event.t_s, words=mark.words, instant=mark.instant, why=why)


def _heard_s(reader: JournalReader, told: Sequence[Event]) -> float:
    """When the runner was last heard of before it began to judge."""
    closed_s = math.inf
    for event in told:
        if event.kind == RESUMED:
            closed_s = math.inf
        elif event.kind in (PHASE_JUDGE, PHASE_DONE):
            closed_s = min(closed_s, event.t_s)
    last = reader.last_tick(closed_s)
    spoke_s = max((event.t_s for event in events_of_run(told)), default=0.0)
    return spoke_s if last is None else max(spoke_s, last.t_s)


def _lost_share(columns: Columns, horizon_s: float | None, settled: int | None) -> float:
    """Requests that the harness owed and never sent or gave up, of those it owed.

    `horizon_s`: when the run was ended early, None for a whole one. What came due later was not owed, and what was cut
    off there is no loss; in a whole run only a probe that hangs up on purpose is cancelled rightly. `settled`: in a run
    that its gates ended, the harness owed no more than the first so many.
    """
    lost = columns.is_outcome(Outcome.UNSENT)
    if horizon_s is None:
        lost |= columns.is_outcome(Outcome.CANCELLED) & ~columns.hangs_up
        return float(lost[:settled].sum()) / max(1, len(lost[:settled]))
    owed = columns.due_s < horizon_s
    return float((lost & owed).sum()) / max(1, int(owed.sum()))


def _not_whole(columns: Columns, answers: Answers) -> dict[str, str]:
    """What covers less than it seems to, because a million of them would not fit."""
    why = {}
    if answers.dropped or answers.cut:
        why["answers"] = (
            f"the texts of {answers.dropped:,} answers were not kept and {answers.cut:,} were cut: the journal's bound "
            "for answers was reached; every number covers them all the same"
        )
    if columns.gap_share < 1:
        why["itl_s"] = f"gaps are those of every {round(1 / columns.gap_share)}th stream, evenly chosen"
    return why


def events_of_run(events: Sequence[Event]) -> list[Event]:
    """Those before a document was written (the engine being stopped, a fault cut short must not change it).

    Where a run was resumed, those from there on count again.
    """
    found: list[Event] = []
    counts = True
    for event in events:
        counts = event.kind == RESUMED or (counts and event.kind not in (PHASE_JUDGE, PHASE_DONE))
        if counts:
            found.append(event)
    return found


def stopped_at(events: Sequence[Event], last: Tick | None) -> float:
    """When the run stopped to send, in its seconds: at the word of operator, gates or a condition that aborts it.

    Else when it was last heard of: a fault may have begun or ended since the last tick. What tells when the first
    request is due tells of a time that may not have come.
    """
    stop_s: float | None = None
    for event in events:
        if event.kind == RESUMED:
            stop_s = None
        elif event.kind in ("operator.stop", GATES_DECIDED, ABORT) and stop_s is None:
            stop_s = event.t_s
    if stop_s is not None:
        return stop_s
    if last is None:
        return 0.0
    return max([last.t_s, *(event.t_s for event in events if event.kind not in (PHASE_RUN, RESUMED))])


def worst_of(before: Facts, now: Facts) -> Facts:
    """The instrument's facts of a run in two parts: what is counted is added, else the larger error stands."""
    facts = dict(now)
    for name, value in before.items():
        other = now.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if not isinstance(other, int | float) or isinstance(other, bool):
            facts[name] = value
        else:
            facts[name] = value + other if name in _COUNTED else max(value, other)
    return facts


def _facts(reader: JournalReader, key: str) -> Facts:
    text = reader.meta(key)
    return {} if text is None else msgspec.json.decode(text, type=Facts)


def main() -> None:
    """The document of the journal that is named, as JSON on stdout: for a runner that has other things to do."""
    with JournalReader(Path(sys.argv[1])) as reader:
        sys.stdout.buffer.write(msgspec.json.encode(rebuild(reader)))


if __name__ == "__main__":
    main()
