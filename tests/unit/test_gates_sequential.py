"""Sequential gates: the decision of a run that goes on is the decision of its journal, and no more often wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_live_run import SLO, runs

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Over, Scenario, WarmupRule, WindowSpec, Workload
from scenarios.gates import EarlyEnd, InstrumentError, judge, samples_of, so_far
from scenarios.gates.early import trial
from scenarios.gates.sequential import Standing, decide
from scenarios.metrics import METRICS, MetricKind
from scenarios.observation import Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import GateResult, GateVerdict
from scenarios.steady import why_not_sequential
from scenarios.summary import SummaryContext, columns_of
from scenarios.summary.rates import AS_MEASURED

PASS, FAIL, OPEN, INVALID = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.INVALID
S = 1_000_000_000
STEADY = Arrivals(ArrivalKind.POISSON, duration_s=100.0, rate=10.0)
CONTEXT = SummaryContext(slo=SLO, arrivals=STEADY, even=True)
P95 = GateSpec("ttft_s.p95", maximum=0.5, sequential=True)
SERVED = GateSpec("ok_rate", minimum=0.9, sequential=True)


def scenario(*gates: GateSpec, window: WindowSpec | None = None) -> Scenario:
    workload = Workload(mix=(("it-ops", 1.0),))
    return Scenario("made", "", workload, STEADY, SLO, gates=gates, window=window or WindowSpec())


def made(index: int, ttft_s: float | None) -> tuple[PlannedRequest, Observation, Judged, tuple[()]]:
    """A request of the plan, due each 0.1 s, answered after so long; None: it failed after 2 s."""
    due = index * S // 10
    request = PlannedRequest(index=index, due_ns=due, path="/", body=b"", profile="it-ops")
    if ttft_s is None:
        failed = Observation(index=index, due_ns=due, sent_ns=due, outcome=Outcome.HTTP_5XX, end_ns=due + 2 * S)
        return request, failed, Judged(index=index), ()
    first = due + round(ttft_s * S)
    ended = Observation(
        index=index, due_ns=due, sent_ns=due, outcome=Outcome.OK, first_ns=first, last_ns=first, end_ns=first,
        event_ns=(first,), answer="yes", completion_tokens=1,
    )  # fmt: skip
    return request, ended, Judged(index=index), ()


def judged(gate: GateSpec, run: list[Any], **rest: Any) -> GateResult:
    columns = columns_of([one[0] for one in run], [one[1] for one in run], [one[2] for one in run])
    (result,) = judge([gate], samples_of(columns, CONTEXT, **rest))
    return result


@given(run=runs(), over=st.sampled_from(Over), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_trial_by_itself_is_what_the_columns_say_of_its_row(run: list[Any], over: Over, data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from([name for name in METRICS if not why_not_sequential(name)]))
    gate = GateSpec(metric, maximum=0.5, over=over)
    alone = [trial(gate, scenario(gate), *one) for one in run]
    columns = columns_of(
        [one[0] for one in run], [one[1] for one in run], [one[2] for one in run], [f for one in run for f in one[3]]
    )
    values, rows = samples_of(columns, CONTEXT).trials(gate, AS_MEASURED)
    assert [value for value in alone if value is not None] == pytest.approx(values.tolist(), abs=1e-12)
    assert [at for at, value in enumerate(alone) if value is not None] == rows.tolist()


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.5, 0.9, 0.97, 1.0]))
@settings(max_examples=40, deadline=None)
def test_what_is_found_depends_on_the_plan_and_not_on_who_ends_first(seed: int, share: float) -> None:
    rng = random.Random(seed)
    run = [made(i, rng.expovariate(8.0) if rng.random() < share else None) for i in range(400)]
    early, mixed = EarlyEnd(scenario(P95, SERVED)), EarlyEnd(scenario(P95, SERVED))
    for one in run:
        early.add(*one)
    for one in rng.sample(run, len(run)):
        mixed.add(*one)
    assert mixed.found == early.found
    if early.found is None:
        return
    whole = [judged(gate, run) for gate in (P95, SERVED)]
    prefix = [judged(gate, run[: early.found.settled], early=True) for gate in (P95, SERVED)]
    verdicts = [one.verdict for one in prefix]
    assert FAIL in verdicts or verdicts == [PASS, PASS]
    for a, b in zip(whole, prefix, strict=True):
        if b.verdict is not OPEN:  # decided within the prefix: the rest of the run changes nothing
            assert (a.verdict, a.n, a.interval, a.measured) == (b.verdict, b.n, b.interval, b.measured)


def test_a_good_service_passes_early_and_the_reason_says_by_how_many() -> None:
    run = [made(i, 0.1 + 0.001 * (i * 37 % 50)) for i in range(600)]
    early = EarlyEnd(scenario(P95, SERVED))
    for one in run:
        early.add(*one)
    assert early.found is not None
    assert early.found.settled < 250
    assert "every gate has passed after the first" in early.found.why
    assert set(early.verdicts().values()) == {PASS}
    result = judged(P95, run)
    assert (result.verdict, result.needed) == (PASS, None)
    assert f"decided by the first {result.n} of 600 trials" in result.reason
    assert result.interval is not None
    assert (result.interval[1] or 9) <= 0.5


def test_one_failed_gate_is_enough_whatever_the_others_are() -> None:
    early = EarlyEnd(scenario(GateSpec("e2e_s.p99", maximum=1.0), SERVED))
    for index in range(100):
        early.add(*made(index, None))
    assert early.found is not None
    assert early.found.settled < 20
    assert "ok_rate has failed" in early.found.why


def test_without_sequential_gates_or_with_one_that_looks_once_a_good_run_goes_on() -> None:
    for gates in ((), (replace(P95, sequential=False),), (SERVED, replace(P95, sequential=False))):
        early = EarlyEnd(scenario(*gates))
        for index in range(500):
            early.add(*made(index, 0.1))
        assert early.found is None


def test_nothing_is_decided_past_a_request_that_is_still_out() -> None:
    early = EarlyEnd(scenario(SERVED))
    for index in range(1, 500):
        early.add(*made(index, 0.1))
    assert early.found is None
    early.add(*made(0, None))
    assert early.found is not None


def test_an_exception_where_none_is_allowed_fails_at_once_and_none_passes_only_at_the_end() -> None:
    gate = GateSpec("error_rate", maximum=0.0, sequential=True)
    standing = Standing(gate)
    for _ in range(5000):
        standing.add(0.0)
    assert standing.verdict is OPEN
    standing.add(1.0)
    assert standing.verdict is FAIL
    run = [made(i, 0.1) for i in range(50)]
    assert judged(gate, run).verdict is PASS
    assert judged(gate, [*run, made(50, None)]).verdict is FAIL


def test_one_second_is_no_edge_of_a_percentile_and_is_decided_like_any_bound() -> None:
    gate = GateSpec("ttft_s.p50", minimum=1.0, sequential=True)
    slow = [made(i, 1.5 if i % 10 else 0.5) for i in range(300)]
    early = EarlyEnd(scenario(gate))
    for one in slow:
        early.add(*one)
    assert early.found is not None
    assert "every gate has passed" in early.found.why
    assert judged(gate, slow).verdict is PASS
    assert judged(gate, [made(i, 0.5) for i in range(300)]).verdict is FAIL


def test_two_gates_of_one_name_stand_each_for_itself() -> None:
    gates = (SERVED, GateSpec("e2e_s.p99", maximum=9.0), GateSpec("ok_rate", maximum=0.5, sequential=True))
    early = EarlyEnd(scenario(*gates))
    for index in range(300):
        early.add(*made(index, 0.1))
    assert early.verdicts() == {0: OPEN, 2: FAIL}
    assert [sample.state for sample in so_far(gates, {}, {}, {}, early.verdicts())] == ["open", "open", "fail"]


def test_a_warm_up_of_given_length_is_no_trial() -> None:
    window = WindowSpec(WarmupRule.TIME, warmup_s=10.0)
    early = EarlyEnd(scenario(SERVED, window=window))
    for index in range(100):
        early.add(*made(index, None))
    assert early.found is None
    for index in range(100, 110):
        early.add(*made(index, None))
    assert early.found is not None


def test_a_service_on_its_bound_is_open_and_says_how_many_more_would_settle_it() -> None:
    run = [made(i, None if i % 12 == 5 else 0.1) for i in range(240)]
    result = judged(SERVED, run)
    assert (result.verdict, result.n) == (OPEN, 240)
    assert result.needed is not None
    grown = [made(i, None if i % 12 == 5 else 0.1) for i in range(240 + result.needed + 600)]
    assert judged(SERVED, grown).verdict is PASS


def test_a_decision_within_the_harness_own_error_is_invalid() -> None:
    run = [made(i, 0.45) for i in range(600)]
    assert judged(P95, run).verdict is PASS
    late = judged(P95, run, instrument=InstrumentError(send=((0.0, 0.1),)))
    assert late.verdict is INVALID
    assert "within its error" in late.reason


def test_in_a_run_that_ended_early_gates_that_look_once_are_judged_as_if_always_looked_at() -> None:
    run = [made(i, 0.1) for i in range(100)]
    once = GateSpec("ok_rate", minimum=0.95)
    assert judged(once, run).verdict is PASS
    assert judged(once, run, early=True).verdict is OPEN
    gaps = judged(GateSpec("itl_s.p50", maximum=1.0), run, early=True)
    assert (gaps.verdict, gaps.n) == (OPEN, 0)
    assert "ended early" in gaps.reason


def test_two_bounds_are_two_tests() -> None:
    gate = GateSpec("ttft_s.p50", minimum=0.08, maximum=0.2, sequential=True)
    run = [made(i, 0.1) for i in range(300)]
    assert judged(gate, run).verdict is PASS
    assert judged(replace(gate, minimum=0.12), run).verdict is FAIL
    share = GateSpec("ok_rate", minimum=0.5, maximum=0.9, sequential=True)
    assert judged(share, run).verdict is FAIL
    assert judged(replace(share, maximum=1.0), run).verdict is PASS


@pytest.mark.parametrize("over", Over)
def test_a_request_that_was_never_answered_is_infinitely_late_where_all_planned_count(over: Over) -> None:
    gate = replace(P95, over=over, sequential=False)
    run = [made(i, None if i % 8 == 3 else 0.1) for i in range(400)]
    result = judged(gate, run)
    if over is Over.SERVED:
        assert (result.verdict, result.n, result.measured) == (PASS, 350, 0.1)
        assert "50 of 400 requests had no ttft_s" in result.reason
        return
    assert (result.verdict, result.n, result.measured) == (FAIL, 400, None)
    assert result.interval == (0.1, None)
    assert "never had a ttft_s and count as infinitely late" in result.reason
    assert judged(replace(gate, sequential=True), run).verdict is FAIL


def test_false_go_stays_within_the_level_though_one_looks_all_the_time() -> None:
    rng = np.random.default_rng(17)
    gate = GateSpec("ttft_s.p95", maximum=float(-np.log(0.05)) * (1 - 1e-9), confidence=0.95, sequential=True)
    passed = sum(decide(gate, rng.exponential(1.0, 1500)).verdict is PASS for _ in range(600))
    assert passed <= 0.05 * 600


def test_neighbours_in_a_queue_do_not_pass_for_independent_witnesses() -> None:
    rng = np.random.default_rng(23)
    load, n = 0.8, 1500
    gate = GateSpec("ttft_s.p95", maximum=float(-np.log(0.05) / (1 - load)), confidence=0.95)
    false = {True: 0, False: 0}
    for _ in range(100):
        service = rng.exponential(1.0, n + 500)
        sums = np.concatenate(([0.0], np.cumsum(service[:-1] - rng.exponential(1 / load, n + 499))))
        times_s = (sums - np.minimum.accumulate(sums) + service)[500:]
        run = [made(i, float(time_s)) for i, time_s in enumerate(times_s)]
        columns = columns_of([one[0] for one in run], [one[1] for one in run])
        for even in false:
            (result,) = judge([gate], samples_of(columns, replace(CONTEXT, even=even)))
            false[even] += result.verdict is PASS
    assert false[True] <= 5
    assert false[False] >= 20  # taken for independent they would pass many times too often


def test_every_kind_of_metric_says_whether_it_can_be_sequential() -> None:
    refused = {name for name in METRICS if why_not_sequential(name)}
    values = {name for name, metric in METRICS.items() if metric.kind in (MetricKind.VALUE, MetricKind.DIFFERENCE)}
    assert refused == values | {f"itl_s.{p}" for p in ("p50", "p90", "p95", "p99")}
