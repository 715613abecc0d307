"""A gate decides only when the evidence lies on one side; otherwise it says what is missing, or who is to blame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Phase, Slo
from scenarios.faults.kinds import KINDS
from scenarios.gates import InstrumentError, Samples, bound_text, judge, samples_of, so_far
from scenarios.metrics import METRICS
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import GateResult, GateVerdict, Recovery
from scenarios.stats.sketch import LogSketch
from scenarios.summary import FiredFault, SummaryContext, columns_of
from scenarios.summary.faults import WITHHELD_BY

PASS, FAIL, OPEN, INVALID = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.INVALID
STEADY = Arrivals(kind=ArrivalKind.CONSTANT, duration_s=10, rate=1)


def one(
    gate: GateSpec,
    ttft_s: Any = (),
    *,
    failed: int = 0,
    outcome: Outcome = Outcome.TIMEOUT,
    odd: int = 0,
    slo: Slo | None = None,
    instrument: InstrumentError | None = None,
    interrupted: bool = False,
    correct: Any = (),
    findings: Any = (),
    events: int = 1,
    gap_s: float = 0.0,
    answer: str = "yes",
    **facts: Any,
) -> GateResult:
    """The gate over requests due a second apart: with these TTFTs, then `failed` that ended badly, then odd probes."""
    requests, observations = [], []
    for index in range(len(ttft_s) + failed + odd):
        due = index * 1_000_000_000
        profile = "odd" if index >= len(ttft_s) + failed else "it-ops"
        requests.append(PlannedRequest(index=index, due_ns=due, path="/", body=b"", profile=profile))
        if index < len(ttft_s):
            first = due + round(ttft_s[index] * 1e9)
            times = tuple(first + round(event * gap_s * 1e9) for event in range(events))
            observations.append(
                Observation(
                    index=index, due_ns=due, sent_ns=due, outcome=Outcome.OK, first_ns=first, last_ns=times[-1],
                    end_ns=times[-1], event_ns=times, answer=answer, completion_tokens=events,
                )
            )  # fmt: skip
        else:
            observations.append(Observation(index=index, due_ns=due, sent_ns=due, outcome=outcome, end_ns=due))
    judged = [Judged(index=index, correct=value) for index, value in enumerate(correct)]
    context = SummaryContext(slo=slo or Slo(), arrivals=facts.pop("arrivals", STEADY), **facts)
    samples = samples_of(columns_of(requests, observations, judged, findings), context, instrument, interrupted)
    (result,) = judge([gate], samples)
    return result


def p95(maximum: float, **rest: Any) -> GateSpec:
    return GateSpec(metric="ttft_s.p95", maximum=maximum, **rest)


def error(send_s: float = 0.0, stamp_s: float = 0.0) -> InstrumentError:
    """An instrument that was never later than this."""
    return InstrumentError(send=((0.0, send_s),), stamp=((0.0, stamp_s),))


KILLED = (FiredFault(1, "engine.kill", 20.0, 20.0, instant=True),)
EVEN = np.linspace(0.1, 0.9, 400)  # p95 = 0.86, its 95 % interval about 0.84 to 0.88


def test_a_percentile_passes_when_its_whole_interval_is_inside() -> None:
    result = one(p95(0.9), EVEN)
    assert (result.verdict, result.n, result.needed) == (PASS, 400, None)
    assert result.measured == pytest.approx(0.86, abs=0.005)
    assert result.interval is not None
    assert 0.83 < (result.interval[0] or 0) < 0.86 < (result.interval[1] or 0) < 0.89


def test_a_percentile_fails_when_its_whole_interval_is_outside() -> None:
    result = one(p95(0.8), EVEN)
    assert result.verdict is FAIL
    assert result.evidence == (399, 398, 397, 396, 395)  # the slowest first


def test_a_percentile_near_its_bound_is_open_and_says_how_many_more_would_settle_it() -> None:
    result = one(p95(0.865), EVEN)
    assert result.verdict is OPEN
    assert result.needed is not None
    assert "reaches across the bound" in result.reason
    grown = one(p95(0.865), np.repeat(EVEN, 1 + result.needed // 400 + 1))
    assert grown.verdict is PASS


def test_a_sample_too_small_for_the_quantile_is_open_however_good_it_looks() -> None:
    result = one(GateSpec(metric="ttft_s.p99", maximum=10.0), [0.1] * 100)
    assert (result.verdict, result.needed) == (OPEN, 268)
    assert result.interval is not None
    assert result.interval[1] is None


def test_needed_counts_requests_at_the_yield_seen_so_far() -> None:
    result = one(GateSpec(metric="ttft_s.p99", maximum=10.0), [0.1] * 100, failed=100)
    assert result.needed == 536
    among_odd = one(GateSpec(metric="ttft_s.p99", maximum=10.0), [0.1] * 100, failed=100, odd=200)
    assert among_odd.needed == 1072  # of four requests of this mix one has the time that is asked for
    probes = one(GateSpec(metric="odd.correct", minimum=0.5), [0.1] * 30, odd=10, correct=[None] * 30 + [True] * 7)
    assert probes.verdict is OPEN
    assert probes.needed is not None
    assert probes.needed % 4 == 0  # each probe more comes with three ordinary requests
    assert "100 of 200 requests had no ttft_s" in result.reason


def test_a_minimum_works_the_other_way_round() -> None:
    gate = GateSpec(metric="ttft_s.p50", minimum=0.4)
    assert one(gate, EVEN).verdict is PASS
    assert one(GateSpec(metric="ttft_s.p50", minimum=0.6), EVEN).verdict is FAIL
    result = one(GateSpec(metric="ttft_s.p50", minimum=0.49), EVEN)
    assert result.verdict is OPEN
    assert result.needed is not None
    assert result.evidence[0] == 0


def test_nothing_measured_is_open_with_a_reason() -> None:
    result = one(p95(0.8), failed=3)
    assert (result.verdict, result.measured, result.interval) == (OPEN, None, None)
    assert "nothing was measured" in result.reason
    assert one(GateSpec(metric="accuracy", minimum=0.9), [0.1]).verdict is OPEN


def test_gaps_of_one_stream_weigh_less_than_independent_ones() -> None:
    gate = GateSpec(metric="itl_s.p50", maximum=0.2)
    result = one(gate, [0.1] * 4, events=200, gap_s=0.1)
    assert result.n == 796
    assert result.evidence == (0, 1, 2, 3)
    assert result.verdict is PASS


@pytest.mark.parametrize(("ok", "failed", "verdict"), [(400, 2, PASS), (380, 20, OPEN), (300, 100, FAIL)])
def test_a_rate_is_decided_by_its_exact_interval(ok: int, failed: int, verdict: GateVerdict) -> None:
    result = one(GateSpec(metric="ok_rate", minimum=0.95), [0.1] * ok, failed=failed)
    assert result.verdict is verdict
    assert result.measured == ok / (ok + failed)
    assert result.evidence == tuple(range(ok, ok + min(5, failed)))


def test_an_open_rate_says_how_many_more_would_settle_it() -> None:
    result = one(GateSpec(metric="ok_rate", minimum=0.95), [0.1] * 97, failed=3)
    assert result.verdict is OPEN
    assert result.needed is not None
    times = 1 + result.needed / 100
    assert one(GateSpec(metric="ok_rate", minimum=0.95), [0.1] * int(98 * times), failed=int(3 * times)).verdict is PASS
    exact = one(GateSpec(metric="ok_rate", minimum=0.97), [0.1] * 97, failed=3)
    assert exact.needed is None
    assert "no number" in exact.reason


def test_rates_leave_out_odd_probes_and_goodput_counts_failures() -> None:
    result = one(GateSpec(metric="goodput", minimum=0.5), [0.1] * 100, failed=10, odd=50, slo=Slo(ttft_s=0.5))
    assert (result.verdict, result.n) == (PASS, 110)
    assert one(GateSpec(metric="shed_rate", maximum=0.5), [0.1] * 90, failed=10, outcome=Outcome.SHED).verdict is PASS
    error = one(GateSpec(metric="error_rate", maximum=0.05), [0.1] * 90, failed=30, outcome=Outcome.RESET)
    assert error.verdict is FAIL


def test_a_gate_without_exceptions_is_failed_by_one_and_passed_by_none() -> None:
    leak = Finding(index=3, category="leak", severity="high", start=0, end=1, detector="planted")
    gate = GateSpec(metric="findings.leak", maximum=0.0)
    result = one(gate, [0.1] * 50, findings=[leak])
    assert (result.verdict, result.evidence, result.measured) == (FAIL, (3,), 0.02)
    clean = one(gate, [0.1] * 50)
    assert clean.verdict is PASS
    assert "up to 7.11% is not excluded" in clean.reason
    assert one(GateSpec(metric="odd.correct", minimum=1.0), odd=3, correct=[True, True, False]).verdict is FAIL
    assert one(GateSpec(metric="findings.any", maximum=0.0), [0.1] * 5, findings=[leak]).verdict is FAIL


def test_accuracy_is_judged_over_the_answers_that_could_be_compared() -> None:
    result = one(GateSpec(metric="accuracy", minimum=0.8), [0.1] * 100, correct=[True] * 95 + [False] * 4 + [None])
    assert (result.verdict, result.n, result.evidence) == (PASS, 99, (95, 96, 97, 98))


def test_a_value_is_compared_as_it_is() -> None:
    gate = GateSpec(metric="engine.restarts", maximum=1)
    assert one(gate, [0.1], engine_restarts=1).verdict is PASS
    assert one(gate, [0.1], engine_restarts=2).verdict is FAIL
    unknown = one(gate, [0.1], engine_restarts=None, ours=False)
    assert unknown.verdict is OPEN
    assert "embedded" in unknown.reason


def test_a_service_that_never_came_back_fails_a_recovery_gate_that_the_run_outlasted() -> None:
    ok, lost = [0.1] * 20, 40
    late = one(GateSpec(metric="recovery_s.max", maximum=30), ok, failed=lost, faults=KILLED)
    assert (late.verdict, late.measured, late.interval) == (FAIL, None, (39.0, None))
    early = one(GateSpec(metric="recovery_s.max", maximum=60), ok, failed=lost, faults=KILLED)
    assert early.verdict is OPEN
    assert "not seen to come back" in early.reason
    assert one(GateSpec(metric="recovery_s.max", maximum=5), [0.1] * 60, faults=KILLED).verdict is PASS
    assert one(GateSpec(metric="recovery_s.max", maximum=5), ok).reason == "no disturbance happened"


def test_a_gate_looks_at_the_part_of_a_run_that_it_names() -> None:
    faults = (FiredFault(1, "network.latency", 100.0, 200.0),)
    ttft_s = [0.1] * 100 + [0.9] * 110 + [0.2] * 190

    def of(phase: Phase, **bounds: float) -> GateResult:
        gate = GateSpec(metric="ttft_s.p95", phase=phase, confidence=0.9, **bounds)
        return one(gate, ttft_s, faults=faults, slo=Slo(ttft_s=0.5))

    before, during, after = of(Phase.BEFORE, maximum=0.3), of(Phase.DURING, maximum=0.3), of(Phase.AFTER, maximum=0.3)
    assert [(part.verdict, part.n, part.measured) for part in (before, during, after)] == [
        (PASS, 100, 0.1),
        (FAIL, 100, 0.9),
        (PASS, 190, 0.2),
    ]
    assert before.name == "ttft_s.p95 before"
    assert (before.phase, during.phase) == (Phase.BEFORE, Phase.DURING)
    good = GateSpec(metric="goodput", minimum=0.9, phase=Phase.DURING)
    assert one(good, ttft_s, faults=faults, slo=Slo(ttft_s=0.5)).verdict is FAIL
    assert one(good, ttft_s, faults=faults, slo=Slo(ttft_s=0.5)).evidence[0] in range(100, 200)
    lost = GateSpec(metric="lost", maximum=0, phase=Phase.BEFORE)
    assert one(lost, [0.1] * 120, failed=60, faults=faults).verdict is PASS
    assert one(lost, [0.1] * 60, failed=60, faults=(FiredFault(1, "x", 70.0, 80.0),)).verdict is FAIL


@pytest.mark.parametrize(
    ("phase", "faults", "why"),
    [
        (Phase.BEFORE, (FiredFault(1, "x", 0.0, 5.0),), "before the first fault"),
        (Phase.DURING, (FiredFault(1, "x", 500.0, 505.0),), "while a fault was on"),
        (Phase.AFTER, (FiredFault(1, "x", 2.0, 505.0),), "after the last fault"),
        (Phase.AFTER, (), "no fault was brought about"),
        (Phase.AFTER, (FiredFault(1, "x", 2.0, 2.0, why="it needs a GPU"),), "no fault was brought about"),
    ],
)
def test_a_part_of_a_run_without_requests_leaves_its_gates_open(
    phase: Phase, faults: tuple[FiredFault, ...], why: str
) -> None:
    for metric in ("ttft_s.p95", "goodput", "lost"):
        result = one(GateSpec(metric=metric, maximum=0.5, phase=phase), EVEN, faults=faults)
        assert (result.verdict, result.n) == (OPEN, 0)
        assert why in result.reason


def test_one_number_of_a_whole_run_has_no_parts() -> None:
    result = one(GateSpec(metric="recovery_s.max", maximum=5, phase=Phase.AFTER), EVEN, faults=KILLED)
    assert (result.verdict, result.reason) == (OPEN, "it is one number of a whole run: no part of it can be looked at")


def test_what_faults_cost_is_compared_as_it_is() -> None:
    def of(metric: str, maximum: float, failed: int = 10, **rest: Any) -> GateResult:
        return one(GateSpec(metric=metric, maximum=maximum), [0.1] * 100, failed=failed, **rest)

    for metric in ("lost", "stuck"):
        assert (of(metric, 9).verdict, of(metric, 9).measured) == (FAIL, 10.0)
        assert of(metric, 10).verdict is PASS
        assert of(metric, 9).evidence == (100, 101, 102, 103, 104)
    assert of("stuck", 0, outcome=Outcome.SHED).verdict is PASS
    assert of("lost", 0, outcome=Outcome.SHED).verdict is PASS
    assert of("lost", 9, outcome=Outcome.RESET).measured == 10.0
    assert of("stuck", 9, outcome=Outcome.RESET).measured == 0.0
    never_back = of("stuck", 0, failed=40, outcome=Outcome.REFUSED, faults=(FiredFault(1, "x", 100.0, 102.0),))
    assert never_back.measured == 1.0
    cut_off = (FiredFault(1, "network.blackhole", 100.0, 104.0), FiredFault(2, "engine.stop", 105.0, 106.0))
    assert [of(metric, 9, faults=cut_off).measured for metric in ("stuck", "lost")] == [
        7.0,
        10.0,
    ]  # five of them, and service was not back from either
    broken = (FiredFault(1, "network.reset", 100.0, 104.0), FiredFault(2, "engine.stop", 105.0, 106.0))
    assert of("stuck", 9, faults=broken).measured == 12.0  # a reset keeps nothing from us: who waits is stuck
    assert KINDS.keys() >= WITHHELD_BY
    assert of("retried", 0).verdict is PASS
    assert of("duplicated", 0).verdict is PASS
    assert of("fingerprints", 1).reason == "no answer named its model"
    assert of("detect_s.max", 1).reason == "no fault was noticed"
    struck = {"faults": (FiredFault(1, "x", 99.5, 99.5, instant=True),), "outcome": Outcome.RESET}
    assert of("detect_s.max", 0.5, **struck).measured == 0.5
    assert of("budget_spent", 1, **struck).reason.startswith("there is no error budget")
    assert of("budget_spent", 1, **struck, objective=0.9).measured == pytest.approx(10 / 11)
    assert of("budget_spent", 1, **struck, objective=1.0).reason.endswith("so there is no budget")
    assert of("budget_spent", 1, objective=0.9).reason == "no fault was brought about"


def test_the_p95_of_the_ways_back_leaves_out_one_in_twenty() -> None:
    def back(*lengths: float | None) -> Samples:
        found = tuple(
            Recovery(cause="x", at_s=float(at), recovered_s=one, watched_s=9.0 if one is None else None)
            for at, one in enumerate(lengths)
        )
        return dataclasses.replace(
            samples_of(columns_of([], []), SummaryContext(slo=Slo(), arrivals=STEADY)), recovery=found
        )

    twenty = back(*[1.0] * 19, None)
    assert (twenty.value("recovery_s.p95").measured, twenty.value("recovery_s.max").measured) == (1.0, None)
    assert twenty.value("recovery_s.max").at_least == 9.0
    few = back(1.0, 2.0, 3.0)
    assert (few.value("recovery_s.p95").measured, few.value("recovery_s.max").measured) == (3.0, 3.0)
    assert back(20.0, None).value("recovery_s.p95").at_least == 20.0


def test_drift_gates_read_the_facts_of_the_monitor() -> None:
    found = {"detected": True, "delay_s": 12.0, "watched_s": 60.0}
    missed = {"detected": False, "delay_s": None, "watched_s": 60.0}
    assert one(GateSpec(metric="drift.detected", minimum=1), [0.1], drift=found).verdict is PASS
    assert one(GateSpec(metric="drift.detected", minimum=1), [0.1], drift=missed).verdict is FAIL
    assert one(GateSpec(metric="drift.delay_s", maximum=30), [0.1], drift=found).verdict is PASS
    assert one(GateSpec(metric="drift.delay_s", maximum=30), [0.1], drift=missed).verdict is FAIL
    assert one(GateSpec(metric="drift.accuracy_drop", maximum=0.1), [0.1], drift={}).verdict is OPEN


@pytest.mark.parametrize("gate", [GateSpec("drift.detected", maximum=0), GateSpec("drift.delay_s", maximum=30)])
def test_drift_that_was_never_looked_for_was_neither_found_nor_missed(gate: GateSpec) -> None:
    blind = {"detected": False, "delay_s": None, "watched_s": 60.0, "evaluations": 0}
    result = one(gate, [0.1], drift=blind)
    assert (result.verdict, result.measured) == (OPEN, None)
    assert "too short" in result.reason
    by_accuracy = blind | {"detected": True, "delay_s": 5.0}
    assert one(gate, [0.1], drift=by_accuracy).measured in (1.0, 5.0)


def test_an_error_that_reaches_across_the_bound_makes_the_gate_invalid() -> None:
    late = error(send_s=0.04, stamp_s=0.02)
    assert one(p95(0.9), EVEN, instrument=late).verdict is INVALID
    assert one(p95(0.8), EVEN, instrument=late).verdict is INVALID
    assert "between 0.7819 and 0.9179 s" in one(p95(0.8), EVEN, instrument=late).reason


def test_a_large_error_far_from_the_bound_stays_valid() -> None:
    late = error(send_s=0.3, stamp_s=0.2)
    assert one(p95(2.0), EVEN, instrument=late).verdict is PASS
    assert one(p95(0.2), EVEN, instrument=late).verdict is FAIL


def test_stolen_time_stretches_what_was_measured() -> None:
    assert one(p95(0.9), EVEN, instrument=InstrumentError(steal=0.001)).verdict is PASS
    assert one(p95(0.9), EVEN, instrument=InstrumentError(steal=0.1)).verdict is INVALID


def test_send_lag_plays_no_part_in_gaps() -> None:
    gate = GateSpec(metric="itl_s.p50", maximum=0.11)
    late = error(send_s=0.5, stamp_s=0.001)
    streams = {"events": 50, "gap_s": 0.1}
    assert one(gate, [0.1] * 30, instrument=late, **streams).verdict is PASS
    assert one(gate, [0.1] * 30, instrument=error(stamp_s=0.02), **streams).verdict is INVALID
    tpot = GateSpec(metric="tpot_s.p50", maximum=0.11)
    assert one(tpot, [0.1] * 30, instrument=error(stamp_s=0.02), **streams).verdict is PASS


def test_goodput_is_invalid_when_shifted_latencies_would_judge_otherwise() -> None:
    gate, slo = GateSpec(metric="goodput", minimum=0.9), Slo(ttft_s=0.5)
    slow = [0.52] * 200
    assert one(gate, slow, slo=slo).verdict is FAIL
    assert one(gate, slow, slo=slo, instrument=error(send_s=0.03)).verdict is INVALID
    assert one(gate, slow, slo=slo, instrument=error(send_s=0.01)).verdict is FAIL
    assert one(gate, [0.1] * 200, slo=slo, instrument=error(send_s=0.3)).verdict is PASS
    correct = GateSpec(metric="ok_rate", minimum=0.9)
    assert one(correct, slow, slo=slo, instrument=error(send_s=9.0)).verdict is PASS


@pytest.mark.parametrize("broken", [InstrumentError(lost_share=0.011), InstrumentError(worker_died=True)])
def test_unsent_requests_or_a_dead_worker_make_every_gate_invalid(broken: InstrumentError) -> None:
    for gate in (p95(9.0), GateSpec(metric="ok_rate", minimum=0.5), GateSpec(metric="engine.restarts", maximum=9)):
        assert one(gate, EVEN, engine_restarts=0, instrument=broken).verdict is INVALID
    assert one(p95(9.0), EVEN, instrument=InstrumentError(lost_share=0.01)).verdict is PASS


def test_what_an_interruption_cut_off_counts_in_no_rate() -> None:
    gate = GateSpec(metric="ok_rate", minimum=0.9)
    assert one(gate, [0.1] * 100, failed=100, outcome=Outcome.UNSENT).verdict is FAIL
    assert one(gate, [0.1] * 100, failed=100, outcome=Outcome.UNSENT, interrupted=True).verdict is PASS


def test_every_metric_of_the_registry_can_be_judged() -> None:
    for metric in METRICS:
        result = one(GateSpec(metric=metric, maximum=0.5, name="mine"), EVEN[:20], failed=2, odd=1)
        assert result.name == "mine"
        (live,) = so_far([GateSpec(metric=metric, maximum=0.5)], {}, {}, {})
        assert (live.name, live.state, live.measured) == (metric, "open", None)


def test_bounds_read_as_they_were_meant() -> None:
    assert bound_text(p95(0.8)) == "<= 0.8"
    assert bound_text(GateSpec(metric="goodput", minimum=0.95)) == ">= 0.95"
    assert bound_text(GateSpec(metric="goodput", minimum=0.1, maximum=0.2)) == ">= 0.1 and <= 0.2"


def test_a_gate_on_a_part_of_a_run_is_not_shown_on_numbers_of_the_whole() -> None:
    sketch = LogSketch()
    sketch.add_many(EVEN)
    gate = GateSpec("ttft_s.p95", maximum=0.1, phase=Phase.BEFORE)
    (live,) = so_far([gate], {"ttft_s": sketch}, {}, {})
    assert (live.name, live.state, live.measured, live.note) == ("ttft_s.p95 before", "open", None, "at the end")


def test_live_states_are_those_of_the_judgement() -> None:
    sketch = LogSketch()
    sketch.add_many(EVEN)
    for maximum, state in ((0.95, "pass"), (0.8, "fail"), (0.865, "open")):
        (live,) = so_far([p95(maximum)], {"ttft_s": sketch}, {}, {})
        assert live.state == state
        assert live.measured == pytest.approx(0.86, rel=0.02)
    gates = [GateSpec(metric="goodput", minimum=0.9), GateSpec(metric="engine.restarts", maximum=1)]
    live, restarts = so_far(gates, {}, {"goodput": (99, 100)}, {"engine.restarts": 2.0})
    assert (live.state, live.measured, restarts.state) == ("pass", 0.99, "fail")


def test_nobody_turned_away_means_that_nobody_waited_to_be_told_so() -> None:
    result = one(GateSpec("shed_s.p95", maximum=0.5), EVEN)
    assert result.verdict is GateVerdict.PASS
    assert result.reason == "no request was turned away"
