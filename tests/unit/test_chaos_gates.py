"""By what a try of a chaos search is judged, and what the search comes to in document and reports."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from scenarios.chaos.document import chaos_of, conclude_search, gates_of_search
from scenarios.chaos.gates import BACK, RIGHT, SAME, STANDS, Held, Known, beyond, failed, gates_of, judge_try, settled_s
from scenarios.chaos.one_try import Try
from scenarios.chaos.record import ChaosRecord, Purpose, Tried
from scenarios.definition import ArrivalKind, Arrivals, Chaos, FaultSpec, GateSpec, Phase, Scenario, Slo, Workload
from scenarios.observation import Judged, Observation, Outcome
from scenarios.report import chaos as words
from scenarios.request import Expectation, PlannedRequest
from scenarios.result import GateResult, GateVerdict, MinimalFailure, Verdict
from scenarios.summary import SummaryContext
from scenarios.summary.columns import columns_of

RESET = FaultSpec("network.reset", 0.34, 1.0, params=(("after", 0.0),))
KILL = FaultSpec("engine.kill", 0.5, params=(("part", "all"),))
STALL = FaultSpec("stream.stall", 0.1, 1.0)
CHAOS = Chaos(settle_s=5.0)
NS = 1_000_000_000


def scenario(*gates: GateSpec) -> Scenario:
    arrivals = Arrivals(ArrivalKind.TIMES, 1.0, at_s=(0.0,))
    return Scenario("s", "", Workload((("it-ops", 1.0),)), arrivals, gates=gates, chaos=CHAOS)


def named(held: tuple[Held, ...]) -> dict[str, float]:
    return {one.gate.name: one.from_s for one in held}


def observed(
    *outcomes: tuple[float, Outcome, bool | None],
) -> tuple[list[PlannedRequest], list[Observation], list[Judged]]:
    planned, seen, judged = [], [], []
    for index, (due_s, outcome, correct) in enumerate(outcomes):
        due_ns = round(due_s * NS)
        planned.append(PlannedRequest(index=index, due_ns=due_ns, path="/", body=b"", expect=Expectation(answer="x")))
        seen.append(
            Observation(
                index=index, due_ns=due_ns, outcome=outcome, end_ns=due_ns + NS, sent_ns=due_ns, first_ns=due_ns
            )
        )
        judged.append(Judged(index=index, correct=correct))
    return planned, seen, judged


def verdicts(one: Try, known: Known, *outcomes: tuple[float, Outcome, bool | None]) -> tuple[str, ...]:
    """Of a try that started at 100 s of its run."""
    held = gates_of(scenario(), one, known)
    requests, observations, judged = observed(*((100.0 + due_s, *rest) for due_s, *rest in outcomes))  # type: ignore[misc]
    columns = columns_of(requests, observations, judged, [])
    context = SummaryContext(slo=Slo(), arrivals=one.arrivals, engine_restarts=1 if known.ours else None)
    return failed(judge_try(held, columns, context, 100.0))


# ---- which gates


def test_a_target_has_time_to_settle_after_what_struck_its_processes() -> None:
    assert settled_s(Try((0.3,)), CHAOS) == 0.0
    assert settled_s(Try((0.3,), (RESET,)), CHAOS) == pytest.approx(1.84)
    assert settled_s(Try((0.3,), (RESET, KILL)), CHAOS) == pytest.approx(6.34)
    assert settled_s(Try((0.3,), (RESET,)), Chaos(settle_s=0.1)) == pytest.approx(1.44)


def test_what_always_holds_is_asked_of_every_try() -> None:
    assert named(gates_of(scenario(), Try((0.3,), (RESET,)), Known())) == {BACK: 1.84}
    assert named(gates_of(scenario(), Try((0.3,)), Known())) == {BACK: 0.0}
    all_known = named(gates_of(scenario(), Try((0.3,), (RESET,)), Known(right=True, ours=True)))
    assert all_known == {BACK: 1.84, RIGHT: 0.0, STANDS: 0.0}


def test_a_wrong_answer_is_one_that_has_changed_where_the_targets_own_are_the_right_ones() -> None:
    (_, held) = gates_of(scenario(), Try((0.3,), (RESET,)), Known(right=True, own=True))
    assert (held.gate.name, held.gate.metric, held.gate.minimum) == (SAME, "accuracy", 1.0)


def test_answers_that_a_fault_changes_on_their_way_count_only_once_it_is_over() -> None:
    assert named(gates_of(scenario(), Try((0.3,), (STALL,)), Known(right=True)))[RIGHT] == pytest.approx(1.6)


def test_a_death_by_a_fault_that_kills_is_not_held_against_the_target() -> None:
    assert STANDS not in named(gates_of(scenario(), Try((0.3,), (KILL,)), Known(ours=True)))


def test_an_author_who_says_it_otherwise_is_asked_instead() -> None:
    own = GateSpec("error_rate", maximum=0.5, name="mine", phase=Phase.AFTER)
    held = gates_of(scenario(own), Try((0.3,), (RESET,)), Known())
    assert named(held) == {"mine": 1.84}
    assert held[0].gate == dataclasses.replace(own, phase=Phase.WHOLE)


def test_gates_that_need_faults_are_left_out_where_there_are_none() -> None:
    during = GateSpec("error_rate", maximum=0.5, name="during", phase=Phase.DURING)
    recovery = GateSpec("recovery_s.max", maximum=5.0, name="recovery")
    assert named(gates_of(scenario(during, recovery), Try((0.3,)), Known())) == {BACK: 0.0}
    assert named(gates_of(scenario(during, recovery), Try((0.3,), (RESET,)), Known())).keys() == {
        "during",
        "recovery",
        BACK,
    }


def test_gates_are_judged_at_the_end_of_a_try_only() -> None:
    own = GateSpec("ok_rate", minimum=0.5, sequential=True)
    (held, _) = gates_of(scenario(own), Try((0.3,)), Known())
    assert not held.gate.sequential
    assert held.gate.name == "ok_rate"


# ---- how a try is judged


def test_what_is_lost_under_a_fault_is_no_failure_what_is_lost_afterwards_is() -> None:
    one = Try((0.3, 0.3, 2.0), (RESET,))
    fine = (2.0, Outcome.OK, True)
    assert verdicts(one, Known(), (0.3, Outcome.RESET, None), (0.3, Outcome.RESET, None), fine) == ()
    assert verdicts(one, Known(), (0.3, Outcome.OK, True), (0.3, Outcome.OK, True), (2.0, Outcome.TIMEOUT, None)) == (
        BACK,
    )


def test_a_wrong_answer_is_a_failure_where_all_were_right_without_faults() -> None:
    one = Try((0.3, 2.0), (RESET,))
    wrong = ((0.3, Outcome.OK, True), (2.0, Outcome.OK, False))
    assert verdicts(one, Known(right=True), *wrong) == (RIGHT,)
    assert verdicts(one, Known(), *wrong) == ()


def test_a_death_without_a_cause_is_a_failure() -> None:
    assert verdicts(Try((0.3, 2.0), (RESET,)), Known(ours=True), (0.3, Outcome.OK, True), (2.0, Outcome.OK, True)) == (
        STANDS,
    )


def test_a_try_did_worse_where_anything_measured_lies_beyond_its_bound() -> None:
    held = (Held(GateSpec("ttft_s.p95", maximum=1.0)),)

    def result(measured: float | None) -> tuple[GateResult, ...]:
        return (
            GateResult(
                name="a", metric="ttft_s.p95", bound="<= 1", measured=measured, interval=None, confidence=0.95,
                verdict=GateVerdict.INCONCLUSIVE, n=3,
            ),
        )  # fmt: skip

    assert [beyond(held, result(measured)) for measured in (None, 0.5, 1.5)] == [False, False, True]


# ---- what the search comes to


def tried(purpose: Purpose, *kinds: str, failed: tuple[str, ...] = ()) -> Tried:
    return Tried(purpose=purpose, words="", kinds=kinds, first=0, count=1, start_s=0.0, failed=failed)


FOUND_NONE = ChaosRecord(
    possible=40,
    tries=(
        tried(Purpose.UNDISTURBED),
        tried(Purpose.EXPLORE, "network.reset"),
        tried(Purpose.EXPLORE, "engine.kill", "network.reset"),
        tried(Purpose.AGAIN, "network.close"),
    ),
    ended="its time was used up",
    spent_s=12.0,
)
MINIMAL = MinimalFailure(
    faults=("network.reset at 0.34 s for 0.5 s",), requests=2, gate=BACK, failed=3, tried=3, whole=True,
    path="/runs/r1/minimal.toml", toml='name = "x"\n',
)  # fmt: skip


def test_nothing_found_is_said_of_the_tries_that_were_made_and_no_more() -> None:
    found = chaos_of(FOUND_NONE)
    assert (found.tries, found.explored, found.failures, found.kinds, found.pairs, found.triples) == (4, 3, 0, 2, 1, 0)
    gates = gates_of_search(found, (), "")
    verdict, why = conclude_search(found, gates, interrupted=False)
    assert (verdict, gates[0].verdict) == (Verdict.GO, GateVerdict.PASS)
    assert why == "No scenario that fails was found in 3 tries (2 of 40 kinds of faults, 1 pair)."
    assert conclude_search(found, gates, interrupted=True)[0] is Verdict.INCONCLUSIVE
    assert conclude_search(found, gates_of_search(found, (), "it slept"), interrupted=False)[0] is Verdict.INVALID


def test_a_search_that_never_came_to_its_end_is_not_go() -> None:
    found = chaos_of(msgspec.structs.replace(FOUND_NONE, ended=""))
    assert conclude_search(found, gates_of_search(found, (), ""), interrupted=False)[0] is Verdict.INCONCLUSIVE


def test_a_search_that_tried_nothing_says_nothing() -> None:
    found = chaos_of(ChaosRecord(possible=3))
    gates = gates_of_search(found, (), "")
    assert conclude_search(found, gates, interrupted=True)[0] is Verdict.INCONCLUSIVE
    assert gates[0].measured is None


@pytest.mark.parametrize("spoilt", ["", "the harness slept"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_what_was_found_names_faults_requests_and_gate(spoilt: str, interrupted: bool) -> None:
    record = msgspec.structs.replace(FOUND_NONE, minimal=MINIMAL)
    found = chaos_of(record)
    verdict, why = conclude_search(found, gates_of_search(found, (), spoilt), interrupted)
    assert verdict is Verdict.NO_GO
    assert why == (
        "A scenario fails 'served after the faults' 3 of 3 times: network.reset at 0.34 s for 0.5 s with 2 requests."
    )


def test_the_report_shows_what_was_covered_and_the_file_that_replays_it() -> None:
    shown = "\n".join(words.lines(chaos_of(msgspec.structs.replace(FOUND_NONE, minimal=MINIMAL)), 100, seed=7))
    for part in (
        "3 tries",
        "2 of 40 kinds",
        "1 more to repeat",
        "3 of 3 times",
        "seatrial run /runs/r1/minimal.toml --seed 7",
    ):
        assert part in shown
    assert '  name = "x"' in shown.splitlines()
    nothing = "\n".join(words.lines(chaos_of(FOUND_NONE), 100, seed=7))
    assert "its time was used up" in nothing
    assert "Replay" not in nothing
