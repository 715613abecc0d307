"""What came of faults, on made runs: one request each quarter of a second, answered after 0.1 s unless it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.definition import ArrivalKind, Arrivals, Phase, Slo
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import FaultOutcome, FaultResult
from scenarios.summary import FiredFault, SummaryContext, columns_of
from scenarios.summary.columns import Columns
from scenarios.summary.faults import fault_results
from scenarios.summary.phases import phase_rows
from scenarios.summary.shadows import aftermath_of, owners

NS = 1_000_000_000
GAP_S = 0.25
LONG = 60.0
STEADY = Arrivals(kind=ArrivalKind.CONSTANT, duration_s=LONG, rate=1 / GAP_S)
Story = Callable[[float], tuple[Outcome, float] | dict[str, Any] | None]
"""What becomes of a request due then: (outcome, seconds that it took), whole fields, or None: it is served well."""


def lasting(at_s: float, end_s: float, number: int = 1, **rest: Any) -> FiredFault:
    return FiredFault(number, "network.latency", at_s, end_s, **rest)


def instant(at_s: float, number: int = 1, **rest: Any) -> FiredFault:
    return FiredFault(number, "engine.kill", at_s, at_s, instant=True, **rest)


def run(story: Story, *, long_s: float = LONG, gap_s: float = GAP_S) -> Columns:
    requests, observations = [], []
    for index in range(round(long_s / gap_s)):
        due_s = index * gap_s
        found = story(due_s)
        if isinstance(found, tuple):
            outcome, took_s = found
            found = {"outcome": outcome, "end_ns": round((due_s + took_s) * NS)}
            if outcome is Outcome.OK:
                found["first_ns"] = found["last_ns"] = found["end_ns"]
        due_ns = round(due_s * NS)
        served = {"outcome": Outcome.OK, "end_ns": due_ns + NS // 10, "first_ns": due_ns + NS // 20, "begun": 1}
        made = {"sent_ns": due_ns} | (served if found is None else found)
        profile = made.pop("profile", "it-ops")
        hang_up = made.pop("hang_up_after_events", 0)
        requests.append(
            PlannedRequest(
                index=index, due_ns=due_ns, path="/", body=b"", profile=profile, hang_up_after_events=hang_up
            )
        )
        observations.append(msgspec.convert({"index": index, "due_ns": due_ns} | made, Observation))
    return columns_of(requests, observations)


def told(columns: Columns, *faults: FiredFault, **rest: Any) -> tuple[FaultResult, ...]:
    context = SummaryContext(**({"slo": Slo(ttft_s=0.5), "arrivals": STEADY, "faults": faults} | rest))
    return fault_results(columns, context, aftermath_of(columns, context))


def one(story: Story, fault: FiredFault, *, long_s: float = LONG, gap_s: float = GAP_S, **rest: Any) -> FaultResult:
    (result,) = told(run(story, long_s=long_s, gap_s=gap_s), fault, **rest)
    return result


def slow(begin: float, end: float) -> Story:
    return lambda due_s: (Outcome.OK, 1.0) if begin <= due_s < end else None


def broken(begin: float, end: float, outcome: Outcome = Outcome.RESET, took_s: float = 0.01) -> Story:
    return lambda due_s: (outcome, took_s) if begin <= due_s < end else None


def test_a_fault_that_nobody_felt_is_held() -> None:
    result = one(lambda _: None, lasting(20, 23, words="latency 1 ms", facts={"held": 3.0}))
    assert result.outcome is FaultOutcome.HELD
    assert (result.recovered_s, result.out_s, result.detected_s) == (0.0, 0.0, None)
    assert (result.requests, result.lost, result.budget_spent) == (12, 0, None)
    assert (result.words, result.facts) == ("latency 1 ms", {"held": 3.0})
    assert result.before is not None
    assert result.during is not None
    assert result.after is not None
    assert (result.before.n, result.during.n, result.after.n) == (80, 12, 148)
    assert result.before.good == 80
    assert result.before.ttft_p95_s == pytest.approx(0.05)


def test_slow_while_it_lasts_and_well_at_once_afterwards_is_degraded() -> None:
    result = one(slow(20, 23), lasting(20, 23))
    assert result.outcome is FaultOutcome.DEGRADED
    assert (result.recovered_s, result.out_s, result.lost) == (0.0, 3.0, 0)
    assert result.detected_s == 1.0  # the end of the first that was too slow
    assert result.during is not None
    assert result.during.good == 0


def test_a_lasting_fault_recovers_from_its_end_and_one_that_is_over_at_once_from_its_start() -> None:
    lasted = one(broken(20, 27), lasting(20, 23))
    assert (lasted.outcome, lasted.recovered_s, lasted.out_s) == (FaultOutcome.RECOVERED, 4.0, 7.0)
    struck = one(broken(20, 27), instant(20))
    assert (struck.outcome, struck.recovered_s, struck.out_s) == (FaultOutcome.RECOVERED, 7.0, 7.0)
    assert (lasted.lost, struck.lost, struck.requests) == (28, 28, 28)


def test_lost_requests_with_service_back_at_once_are_lost() -> None:
    result = one(broken(20, 23, Outcome.TRUNCATED), lasting(20, 23))
    assert (result.outcome, result.lost, result.recovered_s) == (FaultOutcome.LOST, 12, 0.0)
    assert result.detected_s == pytest.approx(0.01)


def test_service_that_never_comes_back_is_stuck() -> None:
    result = one(broken(20, LONG, Outcome.TIMEOUT, 30.0), lasting(20, 23))
    assert (result.outcome, result.recovered_s) == (FaultOutcome.STUCK, None)
    assert result.stuck == result.lost == 160
    assert result.after is None


def test_a_timeout_with_a_byte_of_an_answer_is_not_stuck() -> None:
    def story(due_s: float) -> dict[str, Any] | None:
        if not 20 <= due_s < 21:
            return None
        return {"outcome": Outcome.TIMEOUT, "end_ns": round((due_s + 30) * NS), "begun": int(due_s == 20)}

    result = one(story, lasting(20, 23))
    assert (result.lost, result.stuck) == (4, 3)


def test_a_fault_at_the_very_end_is_not_known_to_be_recovered_from() -> None:
    assert one(broken(58, 58.5), lasting(58, 59)).outcome is FaultOutcome.UNKNOWN
    assert one(lambda _: None, lasting(58, 59.9)).outcome is FaultOutcome.HELD
    assert one(lambda _: None, lasting(59.5, 59.9)).outcome is FaultOutcome.UNKNOWN
    assert one(broken(58, 60), lasting(58, 59)).outcome is FaultOutcome.STUCK
    assert one(broken(58, 60), lasting(58, 59.9)).outcome is FaultOutcome.UNKNOWN
    assert one(lambda _: None, lasting(70, 80)).outcome is FaultOutcome.UNKNOWN


def test_a_run_in_which_nothing_was_sent_tells_nothing_of_its_faults() -> None:
    result = one(lambda due_s: {"outcome": Outcome.UNSENT, "end_ns": 0, "sent_ns": None}, lasting(20, 23))
    assert (result.outcome, result.requests, result.before, result.detected_s) == (FaultOutcome.UNKNOWN, 0, None, None)


def test_a_fault_between_two_requests_was_not_put_to_the_test() -> None:
    result = one(lambda _: None, lasting(20.5, 21), gap_s=10.0, long_s=600)
    assert (result.outcome, result.requests) == (FaultOutcome.UNKNOWN, 0)


def test_a_fault_that_could_not_be_brought_about_is_skipped_with_its_reason() -> None:
    result = one(broken(20, 23), lasting(20, 20, why="it needs an NVIDIA GPU"))
    assert (result.outcome, result.why, result.end_s) == (FaultOutcome.SKIPPED, "it needs an NVIDIA GPU", None)
    assert result.requests == 0


def test_requests_under_way_when_a_fault_strikes_are_its_own() -> None:
    def story(due_s: float) -> tuple[Outcome, float] | None:
        return (Outcome.RESET, 20.1 - due_s) if 19.5 <= due_s < 20 else None

    result = one(story, instant(20))
    assert (result.lost, result.outcome) == (2, FaultOutcome.LOST)
    assert result.detected_s == pytest.approx(0.1)


def test_what_the_engine_itself_shows_may_be_the_first_sign() -> None:
    result = one(broken(22, 23), instant(20), signs_s=(19.0, 20.5, 22.5))
    assert result.detected_s == 0.5
    assert one(lambda _: None, instant(20), signs_s=(50.0,)).detected_s is None


def test_shed_requests_retries_and_work_done_twice_are_counted() -> None:
    def story(due_s: float) -> dict[str, Any] | None:
        at = round(due_s * NS)
        if due_s == 20:
            return {"outcome": Outcome.SHED, "end_ns": at + 1}
        if due_s == 21:
            return {"outcome": Outcome.OK, "end_ns": at + 3, "first_ns": at + 2, "attempts": 3, "begun": 2}
        return None

    result = one(story, lasting(20, 23))
    assert (result.shed, result.retried, result.duplicated, result.lost) == (1, 2, 1, 0)


def test_what_we_cut_off_ourselves_is_no_ones_fault_unless_it_was_late_already() -> None:
    at_once = one(broken(20, 23, Outcome.CANCELLED, 0.1), lasting(20, 23))
    assert (at_once.outcome, at_once.requests, at_once.lost) == (FaultOutcome.UNKNOWN, 0, 0)
    late = one(broken(20, LONG, Outcome.CANCELLED, 9.0), lasting(20, 23))
    assert (late.outcome, late.lost) == (FaultOutcome.STUCK, 0)
    on_purpose = one(
        lambda due_s: (
            {"outcome": Outcome.CANCELLED, "end_ns": round((due_s + 9) * NS), "hang_up_after_events": 1}
            if 20 <= due_s < 23
            else None
        ),
        lasting(20, 23),
    )
    assert on_purpose.outcome is FaultOutcome.UNKNOWN


def test_odd_probes_say_nothing() -> None:
    def story(due_s: float) -> dict[str, Any] | None:
        at = round(due_s * NS)
        return {"outcome": Outcome.RESET, "end_ns": at, "profile": "odd"} if due_s % 1 == 0 else None

    result = one(story, lasting(20, 23))
    assert (result.outcome, result.lost) == (FaultOutcome.HELD, 0)


def test_the_error_budget_is_what_the_goodput_gate_allows_in_the_whole_run() -> None:
    result = one(broken(20, 23), lasting(20, 23), objective=0.9)
    assert result.budget_spent == pytest.approx(12 / (0.1 * 240))
    assert one(broken(20, 23), lasting(20, 23), objective=1.0).budget_spent is None


def test_a_request_belongs_to_the_fault_that_began_last_before_it_was_over() -> None:
    first, second = told(run(broken(22, 24)), lasting(10, 30), lasting(22, 24, number=2))
    assert (first.lost, second.lost) == (0, 8)
    assert second.outcome is FaultOutcome.LOST
    first, second = told(run(broken(26, 28)), lasting(10, 30), lasting(15, 20, number=2))
    assert (first.lost, second.lost) == (8, 0)


def test_a_lasting_fault_waits_for_those_that_were_on_at_its_end() -> None:
    first, second = told(run(broken(12, 22)), lasting(10, 20), lasting(12, 15, number=2))
    assert (first.recovered_s, second.recovered_s) == (2.0, 2.0)


def test_what_is_not_back_before_the_next_fault_is_stuck_and_the_next_is_judged_by_itself() -> None:
    first, second = told(run(broken(20, 33)), lasting(20, 23), lasting(30, 32, number=2))
    assert (first.outcome, first.recovered_s) == (FaultOutcome.STUCK, None)
    assert (second.outcome, second.recovered_s) == (FaultOutcome.RECOVERED, 1.0)
    assert first.lost + second.lost == 52


def test_a_hung_request_is_blamed_on_the_fault_that_hung_it_and_not_on_one_that_came_before_its_timeout() -> None:
    faults = (lasting(20, 23), lasting(30, 33, number=2), lasting(40, 43, number=3))
    results = told(run(broken(20, 22, Outcome.TIMEOUT, 18.1)), *faults)
    assert [result.stuck for result in results] == [8, 0, 0]
    assert [result.outcome for result in results] == [FaultOutcome.LOST, FaultOutcome.HELD, FaultOutcome.HELD]


def test_a_request_that_the_next_fault_cut_off_says_nothing_about_the_one_before() -> None:
    def story(due_s: float) -> tuple[Outcome, float] | dict[str, Any] | None:
        first_ns = round((due_s + 0.1) * NS)
        if 25 <= due_s < 30:  # long streams, all cut off when the next fault strikes
            return {"outcome": Outcome.RESET, "end_ns": 30 * NS + 1, "first_ns": first_ns, "begun": 1}
        return None

    first, second = told(run(story), lasting(20, 23), instant(30, number=2))
    assert (first.outcome, first.lost) == (FaultOutcome.HELD, 0)
    assert second.lost == 20


def test_faults_that_begin_together_share_their_way_back() -> None:
    first, second = told(run(broken(20, 27)), instant(20), instant(20, number=2))
    assert first.recovered_s == second.recovered_s == 7.0
    assert first.lost + second.lost == 28


FAULTS = st.lists(
    st.builds(
        lambda at_s, for_s, number, over: FiredFault(number, "x", at_s, at_s + (0 if over else for_s), instant=over),
        st.floats(0, 65),
        st.floats(0, 20),
        st.integers(1, 9),
        st.booleans(),
    ),
    max_size=6,
)


@given(FAULTS, st.lists(st.sampled_from(list(Outcome)), min_size=240, max_size=240), st.floats(0.001, 40))
@settings(max_examples=60, deadline=None)
def test_each_request_belongs_to_one_fault_at_most_and_every_number_fits_into_the_run(
    faults: list[FiredFault], outcomes: list[Outcome], took_s: float
) -> None:
    columns = run(lambda due_s: (outcomes[round(due_s / GAP_S)], took_s))
    results = told(columns, *faults, objective=0.5)
    assert len(results) == len(faults)
    assert sum(result.requests for result in results) <= 240
    for result in results:
        assert 0 <= result.stuck <= result.lost <= result.requests
        assert result.detected_s is None or result.detected_s >= 0
        assert result.recovered_s is None or result.recovered_s >= 0
        assert 0 <= result.out_s <= LONG
    context = SummaryContext(slo=Slo(ttft_s=0.5), arrivals=STEADY, faults=tuple(faults))
    aftermath = aftermath_of(columns, context)
    assert len(aftermath.recovery) == len(faults)
    owner = owners(aftermath.requests, aftermath.shadows)
    assert ((owner >= -1) & (owner < max(1, len(faults)))).all()
    parts = (Phase.BEFORE, Phase.AFTER)
    before, after = (phase_rows(columns, aftermath.shadows, phase, context.slo) for phase in parts)
    assert not (before & after).any()


@given(FAULTS)
@settings(max_examples=60, deadline=None)
def test_faults_that_nothing_was_felt_of_are_held_or_too_little_was_seen(faults: list[FiredFault]) -> None:
    for result in told(run(lambda _: None), *faults):
        assert result.outcome in (FaultOutcome.HELD, FaultOutcome.UNKNOWN)
        if result.requests >= 5:
            assert result.outcome is FaultOutcome.HELD
        assert (result.out_s, result.detected_s, result.lost) == (0.0, None, 0)


def test_the_parts_of_a_run_are_before_during_and_after_its_faults() -> None:
    columns = run(broken(20, 27))
    context = SummaryContext(slo=Slo(ttft_s=0.5), arrivals=STEADY, faults=(lasting(20, 23), instant(40, number=2)))
    shadows = aftermath_of(columns, context).shadows
    due_s = columns.due_s

    def due_in(phase: Phase) -> list[float]:
        return due_s[phase_rows(columns, shadows, phase, context.slo)].tolist()

    assert due_in(Phase.WHOLE) == due_s.tolist()
    assert due_in(Phase.BEFORE) == np.arange(0, 20, GAP_S).tolist()
    assert due_in(Phase.DURING) == [*np.arange(20, 23, GAP_S), *np.arange(40, 43, GAP_S)]
    assert due_in(Phase.AFTER) == np.arange(43, 60, GAP_S).tolist()
    assert not phase_rows(columns, (), Phase.DURING, context.slo).any()


def test_a_request_that_a_fault_struck_under_way_belongs_to_the_time_of_the_fault() -> None:
    columns = run(lambda due_s: (Outcome.RESET, 0.4) if 19.7 < due_s < 20 else None)
    context = SummaryContext(slo=Slo(ttft_s=0.5), arrivals=STEADY, faults=(lasting(20, 23),))
    shadows = aftermath_of(columns, context).shadows
    before, during = (phase_rows(columns, shadows, phase, context.slo) for phase in (Phase.BEFORE, Phase.DURING))
    lost = columns.is_outcome(Outcome.RESET)
    assert lost.any()
    assert not (before & lost).any()
    assert (during & lost).sum() == lost.sum()


def test_where_service_never_came_back_what_came_after_the_fault_is_its_aftermath() -> None:
    columns = run(broken(20, 60))
    context = SummaryContext(slo=Slo(ttft_s=0.5), arrivals=STEADY, faults=(lasting(20, 23),))
    after = phase_rows(columns, aftermath_of(columns, context).shadows, Phase.AFTER, context.slo)
    assert columns.due_s[after].tolist() == np.arange(23, 60, GAP_S).tolist()
