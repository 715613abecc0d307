"""A journal comes to its verdict by one road, whether the run ended, was stopped or died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_report_samples import make_tick

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Keep, Phase, Scenario, Workload
from scenarios.errors import JournalError
from scenarios.journal import JournalReader, JournalWriter
from scenarios.observation import Observation, Outcome
from scenarios.rebuild import INSTRUMENT, SCENARIO, fired_faults, rebuild, stopped_at
from scenarios.request import PlannedRequest
from scenarios.result import FaultOutcome, GateVerdict, ResultDocument, RunInfo, Verdict
from scenarios.summary import FiredFault
from scenarios.tick import Event, FaultMark

S = 1_000_000_000


def journal(
    path: Path,
    *,
    planned: int,
    observed: int,
    state: str,
    events: tuple[Event, ...] = (),
    worker_deaths: int = 0,
    given_up: int = 0,
    hang_up_after_s: float = 0.0,
    arrivals: Arrivals | None = None,
    gates: tuple[GateSpec, ...] = (GateSpec("error_rate", maximum=0.5),),
) -> Path:
    """One request a second; the first `observed` ended well after 0.1 s, the next `given_up` were cancelled."""
    scenario = Scenario(
        name="made",
        about="",
        workload=Workload(mix=(("it-ops", 1.0),)),
        arrivals=arrivals or Arrivals(kind=ArrivalKind.CONSTANT, duration_s=planned, rate=1.0),
        gates=gates,
    )
    writer = JournalWriter(path)
    writer.set_meta(SCENARIO, msgspec.json.encode(scenario).decode())
    writer.set_meta(INSTRUMENT, msgspec.json.encode({"worker_deaths": worker_deaths}).decode())
    writer.set_run(
        RunInfo(
            id="made", scenario="made", seed=1, plan_hash="00", target="t", model="m", started_at="", environment={},
            state=state,
        )
    )  # fmt: skip
    writer.add_plan(
        PlannedRequest(
            index=i, due_ns=i * S, path="/", body=b"", profile="it-ops",
            hang_up_after_s=hang_up_after_s if i >= observed else 0.0,
        )
        for i in range(planned)
    )  # fmt: skip
    writer.add_observations(
        Observation(index=i, due_ns=i * S, sent_ns=i * S, outcome=Outcome.OK, end_ns=i * S + S // 10)
        for i in range(observed)
    )
    writer.add_observations(
        Observation(index=i, due_ns=i * S, sent_ns=i * S, outcome=Outcome.CANCELLED, end_ns=i * S + S // 10)
        for i in range(observed, observed + given_up)
    )
    for event in events:
        writer.add_event(event)
    writer.close()
    return path


def rebuilt(path: Path) -> ResultDocument:
    with JournalReader(path) as reader:
        return rebuild(reader)


def test_a_finished_run_is_judged_on_all_of_its_requests(tmp_path: Path) -> None:
    document = rebuilt(journal(tmp_path / "j", planned=40, observed=40, state="done"))
    assert document.verdict is Verdict.GO
    assert document.summary.outcomes["ok"] == 40


def test_a_stopped_run_is_not_invalid_for_what_it_no_longer_had_to_send(tmp_path: Path) -> None:
    stop = Event(t_s=20.0, kind="operator.stop", text="stopped")
    document = rebuilt(journal(tmp_path / "j", planned=40, observed=20, state="interrupted", events=(stop,)))
    assert document.summary.outcomes["unsent"] == 20
    assert document.gates[0].verdict is GateVerdict.PASS
    assert document.verdict is Verdict.INCONCLUSIVE


def test_a_finished_run_with_requests_never_sent_is_invalid(tmp_path: Path) -> None:
    document = rebuilt(journal(tmp_path / "j", planned=40, observed=38, state="done"))
    assert document.verdict is Verdict.INVALID


def test_a_run_whose_load_worker_died_is_invalid(tmp_path: Path) -> None:
    document = rebuilt(journal(tmp_path / "j", planned=40, observed=40, state="done", worker_deaths=1))
    assert document.verdict is Verdict.INVALID


def test_a_finished_run_whose_requests_the_harness_gave_up_is_invalid_though_none_failed(tmp_path: Path) -> None:
    document = rebuilt(journal(tmp_path / "j", planned=40, observed=30, state="done", given_up=10))
    assert document.summary.outcomes["cancelled"] == 10
    assert document.verdict is Verdict.INVALID
    assert "lost 25.0%" in document.why


def test_hanging_up_on_purpose_or_at_a_stop_is_no_loss(tmp_path: Path) -> None:
    made = journal(tmp_path / "j", planned=40, observed=30, state="done", given_up=10, hang_up_after_s=0.1)
    assert rebuilt(made).verdict is Verdict.GO
    stop = Event(t_s=40.0, kind="operator.stop", text="stopped")
    made = journal(tmp_path / "k", planned=40, observed=30, state="interrupted", given_up=10, events=(stop,))
    assert rebuilt(made).verdict is Verdict.INCONCLUSIVE


def test_what_is_journalled_after_the_document_does_not_change_it(tmp_path: Path) -> None:
    start = fault("fault.start", 5.0, 1)
    done = Event(t_s=41.0, kind="phase.done", text="GO")
    end = fault("fault.end", 41.1, 1)
    died = Event(t_s=41.2, kind="engine.died", text="at the very end")
    then = journal(tmp_path / "j", planned=40, observed=40, state="done", events=(start,))
    later = journal(tmp_path / "k", planned=40, observed=40, state="done", events=(start, done, end, died))
    assert rebuilt(later) == rebuilt(then)


def test_a_run_that_died_before_its_plan_has_nothing_to_report(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", planned=0, observed=0, state="running")
    with pytest.raises(JournalError, match="before its plan"):
        rebuilt(path)


def fault(kind: str, t_s: float, number: int, text: str = "", **facts: Any) -> Event:
    return Event(t_s=t_s, kind=kind, text=text, fault=FaultMark(number=number, kind="engine.stop", **facts))


def test_a_fault_ends_where_its_own_end_is_told_and_else_when_the_runner_was_last_heard_of() -> None:
    events = [
        fault("fault.start", 1.0, 1, words="part all", instant=True),
        fault("fault.start", 2.0, 2),
        fault("fault.skipped", 2.1, 3, "it needs an NVIDIA GPU"),
        fault("fault.end", 2.5, 1, undone=False, facts={"hits": 3.0}),
        fault("fault.end", 2.6, 9),
        Event(t_s=3.0, kind="fault.refused", text="no such kind"),
    ]
    assert fired_faults(events, 40.0) == (
        FiredFault(1, "engine.stop", 1.0, 2.5, "part all", instant=True, undone=False, facts={"hits": 3.0}),
        FiredFault(2, "engine.stop", 2.0, 40.0),
        FiredFault(3, "engine.stop", 2.1, 2.1, why="it needs an NVIDIA GPU"),
    )


def test_a_fault_that_a_run_died_with_lasted_until_its_runner_was_last_heard_of(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", planned=60, observed=50, state="running", events=(fault("fault.start", 20.0, 1),))
    writer = JournalWriter.reopen(path, Keep())
    for t_s in (30.0, 45.0):
        writer.add_tick(make_tick(t_s))
    writer.close()
    (one,) = rebuilt(path).summary.faults
    assert (one.kind, one.at_s, one.end_s, one.outcome) == ("engine.stop", 20.0, 45.0, FaultOutcome.HELD)


def test_what_comes_after_the_word_that_the_run_is_judged_ends_no_fault(tmp_path: Path) -> None:
    events = (fault("fault.start", 20.0, 1), Event(t_s=61.0, kind="phase.judge", text=""))
    path = journal(tmp_path / "j", planned=60, observed=60, state="done", events=events)
    writer = JournalWriter.reopen(path, Keep())
    for t_s in (60.5, 70.0):
        writer.add_tick(make_tick(t_s))
    writer.close()
    (one,) = rebuilt(path).summary.faults
    assert one.end_s == 60.5


def test_faults_of_the_journal_reach_summary_and_gates(tmp_path: Path) -> None:
    events = (
        fault("fault.start", 20.0, 1, words="part all"),
        Event(t_s=22.0, kind="engine.hung", text=""),
        fault("fault.end", 25.0, 1, facts={"stopped": 1.0}),
        fault("fault.skipped", 30.0, 2, "engine.stop: it needs the target's process"),
    )
    gates = (
        GateSpec("goodput", minimum=0.5),
        GateSpec("goodput", minimum=0.5, phase=Phase.AFTER),
        GateSpec("goodput", minimum=0.99, phase=Phase.DURING),
        GateSpec("lost", maximum=0),
        GateSpec("detect_s.max", maximum=5),
        GateSpec("recovery_s.p95", maximum=5),
    )
    document = rebuilt(journal(tmp_path / "j", planned=60, observed=60, state="done", events=events, gates=gates))
    one, skipped = document.summary.faults
    assert (one.outcome, one.detected_s, one.words, one.facts) == (FaultOutcome.HELD, 2.0, "part all", {"stopped": 1.0})
    assert one.budget_spent == 0.0
    assert (skipped.outcome, skipped.why) == (FaultOutcome.SKIPPED, "it needs the target's process")
    assert [gate.verdict.value for gate in document.gates] == ["pass", "pass", "inconclusive", "pass", "pass", "pass"]
    assert [gate.n for gate in document.gates[:3]] == [60, 35, 5]
    assert document.summary.recovery[0].recovered_s == 0.0


def test_a_fault_that_a_run_died_with_is_over_when_the_run_is_resumed() -> None:
    events = [
        fault("fault.start", 2.0, 1),
        Event(t_s=7.0, kind="run.resumed", text=""),
        fault("fault.start", 9.0, 1),
        fault("fault.end", 11.0, 1),
    ]
    assert [(one.at_s, one.end_s) for one in fired_faults(events, 40.0)] == [(2.0, 7.0), (9.0, 11.0)]


def test_a_run_that_died_was_last_heard_of_by_its_newest_tick_or_event() -> None:
    last, later = make_tick(t_s=10.0), fault("fault.start", 10.1, 1)
    assert stopped_at([fault("fault.start", 3.0, 1)], last) == 10.0
    assert stopped_at([fault("fault.start", 3.0, 1), later], last) == 10.1
    assert stopped_at([later], None) == 0.0


@pytest.mark.parametrize("kind", ["phase.run", "run.resumed"])
def test_when_the_first_request_is_due_is_not_when_the_run_was_last_heard_of(kind: str) -> None:
    assert stopped_at([Event(t_s=60.0, kind=kind, text="")], make_tick(t_s=10.0)) == 10.0


def test_a_spike_that_a_stopped_run_never_reached_is_no_disturbance(tmp_path: Path) -> None:
    path = tmp_path / "j"
    spike = Arrivals(kind=ArrivalKind.SPIKE, duration_s=40, base=1.0, peak=2.0, spike_at_s=30.0, spike_s=5.0)
    gates = (GateSpec("recovery_s.max", maximum=5.0),)
    stop = Event(t_s=20.0, kind="operator.stop", text="stopped")
    journal(path, planned=40, observed=20, state="interrupted", events=(stop,), arrivals=spike, gates=gates)
    document = rebuilt(path)
    assert document.summary.recovery == ()
    assert document.gates[0].verdict is GateVerdict.INCONCLUSIVE
