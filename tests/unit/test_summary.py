"""The summary's numbers are those of DESIGN.md, on runs small enough to count by hand."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.definition import ArrivalKind, Arrivals, Slo, WarmupRule, WindowSpec
from scenarios.errors import MiscountError
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.summary import FiredFault, SummaryContext, columns_of, measured_window, summarise, summarise_columns
from scenarios.summary.columns import OUTCOMES

MS = 1_000_000
STEADY = Arrivals(kind=ArrivalKind.CONSTANT, duration_s=10, rate=1)


def planned(index: int, profile: str = "support-chat", era: str = "A") -> PlannedRequest:
    return PlannedRequest(
        index=index, due_ns=index * 1000 * MS, path="/v1/chat/completions", body=b"", profile=profile, era=era
    )


def seen(index: int, outcome: Outcome = Outcome.OK, *, gaps_ms: tuple[int, ...] = (), **rest: Any) -> Observation:
    """Due at `index` seconds, sent 10 ms late; the first token after 200 ms, then the gaps."""
    due = index * 1000 * MS
    made: dict[str, Any] = {"index": index, "due_ns": due, "outcome": outcome, "end_ns": due + 500 * MS}
    if outcome is not Outcome.UNSENT:
        made["sent_ns"] = due + 10 * MS
    if outcome is Outcome.OK:
        events = [due + 200 * MS]
        for gap in gaps_ms:
            events.append(events[-1] + gap * MS)
        made |= {"event_ns": tuple(events), "first_ns": events[0], "answer_ns": events[0], "last_ns": events[-1]}
        made |= {"answer": "hello", "completion_tokens": len(events) * 2}
    return Observation(**(made | rest))


def context(**rest: Any) -> SummaryContext:
    return SummaryContext(**({"slo": Slo(ttft_s=0.5), "arrivals": STEADY, "engine_restarts": 0} | rest))


def test_latencies_start_at_due_and_the_raw_ones_at_sent() -> None:
    summary = summarise([planned(0)], [seen(0, gaps_ms=(50, 70))], [], [], context())
    assert summary.ttft_s.p50 == 0.2
    assert summary.ttft_s.raw["p50"] == 0.19
    assert summary.ttfa_s.p99 == 0.2
    assert summary.e2e_s.max == 0.32
    assert summary.e2e_s.raw["p95"] == 0.31


def test_gaps_are_pooled_and_time_per_token_is_by_request_and_by_tokens_not_events() -> None:
    requests = [planned(0), planned(1)]
    observations = [seen(0, gaps_ms=(50, 70)), seen(1, gaps_ms=(100,), completion_tokens=11)]
    summary = summarise(requests, observations, [], [], context())
    assert (summary.itl_s.n, summary.itl_s.p50, summary.itl_s.max) == (3, 0.07, 0.1)
    assert summary.itl_s.raw == {}
    assert summary.tpot_s.n == 2
    assert summary.tpot_s.p50 == pytest.approx(0.1 / 10)
    assert summary.tpot_s.max == pytest.approx(0.12 / 5)


def test_an_answer_in_one_piece_has_no_time_per_token() -> None:
    summary = summarise([planned(0)], [seen(0, completion_tokens=12)], [], [], context())
    assert summary.tpot_s.n == 0
    assert "tpot_s" in summary.not_measured


def test_goodput_counts_every_planned_request_but_the_odd_probes() -> None:
    requests = [planned(i) for i in range(6)] + [planned(6, "odd"), planned(7, "odd")]
    observations = [
        seen(0),
        seen(1),
        seen(2, first_ns=2900 * MS),  # too late
        seen(3, Outcome.SHED),
        seen(4, Outcome.CANCELLED),
        seen(5, Outcome.UNSENT),
        seen(6, Outcome.HTTP_4XX),
        seen(7, Outcome.TIMEOUT),
    ]
    judged = [Judged(index=6, correct=True), Judged(index=7, correct=False)]
    summary = summarise(requests, observations, judged, [], context())
    assert summary.goodput == 2 / 6
    assert summary.odd == {"probes": 2, "correct": 1, "wrong": 1}
    assert summary.outcomes["http_4xx"] == 1
    assert sum(summary.outcomes.values()) == summary.planned == 8
    assert summary.shed_s.n == 1
    assert summary.shed_s.p50 == 0.5


def test_every_bound_of_the_slo_must_hold() -> None:
    requests, observations = [planned(0)], [seen(0, gaps_ms=(100, 100))]
    for slo, good in (
        (Slo(), 1.0),
        (Slo(ttft_s=0.2, tpot_s=0.04, e2e_s=0.4), 1.0),
        (Slo(ttft_s=0.19), 0.0),
        (Slo(ttft_s=0.2, tpot_s=0.039), 0.0),
        (Slo(e2e_s=0.39), 0.0),
    ):
        assert summarise(requests, observations, [], [], context(slo=slo)).goodput == good


def test_odd_probes_have_no_latencies() -> None:
    summary = summarise([planned(0), planned(1, "odd")], [seen(0), seen(1, gaps_ms=(900,))], [], [], context())
    assert (summary.ttft_s.n, summary.itl_s.n, summary.e2e_s.n) == (1, 0, 1)


def test_throughput_is_of_what_ended_ok_inside_the_window_from_first_to_last_due_time() -> None:
    requests = [planned(i) for i in range(3)]
    observations = [seen(0), seen(1, gaps_ms=(10,)), seen(2, Outcome.TRUNCATED, completion_tokens=50)]
    summary = summarise(requests, observations, [], [], context())
    assert summary.window_s == 2.0
    assert summary.throughput == {"requests_per_s": 2 / 2.0, "tokens_per_s": 6 / 2.0}
    assert summary.goodput_rate == 2 / 2.0
    assert summary.tokens_from == "usage"


def test_it_says_where_tokens_come_from() -> None:
    requests = [planned(0), planned(1)]
    none = [seen(0, completion_tokens=None), seen(1, completion_tokens=None)]
    summary = summarise(requests, none, [], [], context())
    assert summary.tokens_from == "none"
    assert summary.throughput["tokens_per_s"] is None
    assert "usage" in summary.not_measured["throughput.tokens_per_s"]
    assert summarise(requests, [seen(0), none[1]], [], [], context()).tokens_from == "mixed"
    probes = summarise([planned(0, "odd")], [seen(0)], [], [], context())
    assert (probes.tokens_from, "throughput.tokens_per_s" in probes.not_measured) == ("usage", False)


def test_accuracy_is_sliced_by_profile_and_era() -> None:
    requests = [planned(0), planned(1), planned(2, era="B"), planned(3, "it-ops", "B"), planned(4, "odd")]
    judged = [Judged(index=i, correct=correct) for i, correct in enumerate((True, True, False, None, True))]
    summary = summarise(requests, [seen(i) for i in range(5)], judged, [], context())
    assert summary.accuracy["all"] == {"n": 3, "correct": 2, "rate": 2 / 3}
    assert summary.accuracy["all/A"] == {"n": 2, "correct": 2, "rate": 1.0}
    assert summary.accuracy["support-chat/B"] == {"n": 1, "correct": 0, "rate": 0.0}
    assert "it-ops" not in summary.accuracy


def test_findings_are_counted_apart_in_answers_and_prompts() -> None:
    def finding(category: str, where: str = "answer") -> Finding:
        return Finding(index=0, category=category, severity="high", start=0, end=1, detector="rule", where=where)

    findings = [finding("pii.email"), finding("pii.email"), finding("injection", "prompt")]
    summary = summarise([planned(0)], [seen(0)], [], findings, context())
    assert summary.findings == {"pii.email": 2, "prompt.injection": 1}


def test_plan_and_observations_must_match_one_to_one() -> None:
    with pytest.raises(MiscountError, match="1 have no observation"):
        summarise([planned(0), planned(1)], [seen(0)], [], [], context())
    with pytest.raises(MiscountError, match="1 have more than one"):
        summarise([planned(0)], [seen(0), seen(0)], [], [], context())
    with pytest.raises(MiscountError, match="1 observations belong to no request"):
        summarise([planned(0)], [seen(0), seen(9)], [], [], context())


def test_a_run_in_which_nothing_was_sent_has_no_numbers_but_adds_up() -> None:
    summary = summarise([planned(0)], [seen(0, Outcome.UNSENT)], [], [], context())
    assert summary.goodput == 0.0
    assert summary.window_s == 0.0
    assert summary.ttft_s.p50 is None
    assert summary.throughput["requests_per_s"] is None
    assert summarise([], [], [], [], context()).goodput is None


def test_recovery_is_told_for_faults_and_for_the_spike() -> None:
    requests = [planned(i) for i in range(40)]
    observations = [seen(i, Outcome.REFUSED if 10 <= i < 14 else Outcome.OK) for i in range(40)]
    spike = Arrivals(kind=ArrivalKind.SPIKE, duration_s=40, base=1, peak=3, spike_at_s=20, spike_s=5)
    faults = (
        FiredFault(1, "engine.kill", 9.5, 9.5, instant=True),
        FiredFault(2, "network.latency", 28.0, 30.0),
    )
    summary = summarise(requests, observations, [], [], context(arrivals=spike, faults=faults))
    assert [(one.cause, one.at_s, one.recovered_s) for one in summary.recovery] == [
        ("engine.kill", 9.5, 4.5),
        ("spike", 25.0, 0.0),
        ("network.latency", 30.0, 0.0),
    ]


def test_clients_that_hang_up_on_purpose_do_not_keep_a_service_from_its_recovery() -> None:
    requests = [
        msgspec.structs.replace(planned(i), hang_up_after_events=1) if i % 3 == 0 else planned(i) for i in range(40)
    ]
    observations = [
        seen(i, Outcome.CANCELLED if i % 3 == 0 else Outcome.REFUSED if 10 <= i < 14 else Outcome.OK) for i in range(40)
    ]
    faults = (FiredFault(1, "engine.kill", 9.5, 9.5, instant=True),)
    (recovery,) = summarise(requests, observations, [], [], context(faults=faults)).recovery
    assert recovery.recovered_s == 4.5


def test_nothing_sent_at_all_is_told_from_nothing_sent_in_the_window() -> None:
    requests = [planned(i) for i in range(4)]
    observations = [seen(i, Outcome.UNSENT if i > 1 else Outcome.OK) for i in range(4)]
    columns = columns_of(requests, observations, [], [])
    window = measured_window(columns, WindowSpec(WarmupRule.TIME, 2.0), cut_off=False)
    why = summarise_columns(columns, context(), window).not_measured["throughput"]
    assert why == "no request due in the measured window was sent"
    unsent = [seen(i, Outcome.UNSENT) for i in range(4)]
    assert summarise(requests, unsent, [], [], context()).not_measured["throughput"] == "no request was sent"


@given(st.lists(st.sampled_from(OUTCOMES), max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_observations_and_the_numbering_of_the_plan_change_nothing(
    outcomes: list[Outcome], shuffle: random.Random
) -> None:
    def make(number: Any) -> tuple[list[PlannedRequest], list[Observation]]:
        return (
            [planned(number(i), "odd" if i % 7 == 0 else "it-ops") for i in range(len(outcomes))],
            [seen(number(i), outcome, gaps_ms=(i, 20)) for i, outcome in enumerate(outcomes)],
        )

    requests, observations = make(lambda i: i)
    straight = summarise(requests, observations, [], [], context())
    mixed = list(observations)
    shuffle.shuffle(mixed)
    assert summarise(requests, mixed, [], [], context()) == straight
    assert sum(straight.outcomes.values()) == len(outcomes)
    requests, observations = make(lambda i: 3 * i + 5)
    shuffle.shuffle(observations)
    columns = columns_of(requests, observations)
    assert list(columns.index) == [request.index for request in requests]
    again = summarise(requests, observations, [], [], context())
    assert (again.outcomes, again.goodput, again.itl_s) == (straight.outcomes, straight.goodput, straight.itl_s)
