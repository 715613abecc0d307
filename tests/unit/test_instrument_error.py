"""What the harness knows of its own error, and which decisions it takes away."""

from __future__ import annotations

import numpy as np
import pytest
from test_gates import EVEN, FAIL, INVALID, OPEN, PASS, error, one, p95

from scenarios.definition import GateSpec, Slo
from scenarios.gates import InstrumentError

# Half a second of a minute's run: requests sent late in it, and stamps that waited for its end.
ONE_STALL = InstrumentError(
    send=((0.5, 0.0001), (0.01, 0.0005), (0.001, 0.45), (0.0, 0.5)),
    stamp=((0.5, 0.0), (0.01, 0.0002), (0.001, 0.45), (0.0, 0.5)),
)
MANY = np.linspace(0.1, 0.9, 20_000)


def gate(metric: str, maximum: float) -> GateSpec:
    return GateSpec(metric=metric, maximum=maximum)


def test_one_stall_in_a_minute_takes_away_a_gate_on_the_99th_percentile_and_no_other() -> None:
    assert one(gate("ttft_s.p99", 0.898), MANY, instrument=ONE_STALL).verdict is INVALID
    assert one(gate("ttft_s.p99", 0.885), MANY, instrument=ONE_STALL).verdict is INVALID
    assert one(gate("ttft_s.p95", 0.885), MANY, instrument=ONE_STALL).verdict is PASS
    assert one(gate("ttft_s.p95", 0.830), MANY, instrument=ONE_STALL).verdict is FAIL
    assert one(gate("ttft_s.p50", 0.53), MANY, instrument=ONE_STALL).verdict is PASS


def test_one_stall_is_no_matter_where_the_bound_is_further_away_than_it_was_long() -> None:
    assert one(gate("ttft_s.p99", 2.5), MANY, instrument=ONE_STALL).verdict is PASS


def test_without_a_late_request_nothing_is_taken_away() -> None:
    assert one(gate("ttft_s.p99", 0.897), MANY, instrument=error()).verdict is PASS


def test_the_noise_floor_is_the_least_error() -> None:
    quiet = InstrumentError(noise_send_s=0.03, noise_stamp_s=0.02)
    assert one(p95(0.9), EVEN, instrument=quiet).verdict is INVALID
    assert one(p95(0.93), EVEN, instrument=quiet).verdict is PASS
    assert one(p95(0.8), EVEN, instrument=quiet).verdict is INVALID
    assert one(p95(0.78), EVEN, instrument=quiet).verdict is FAIL
    streams = {"events": 50, "gap_s": 0.1}
    assert one(gate("itl_s.p50", 0.115), [0.1] * 30, instrument=quiet, **streams).verdict is INVALID
    assert one(gate("itl_s.p50", 0.125), [0.1] * 30, instrument=quiet, **streams).verdict is PASS


def test_a_late_stamp_makes_a_time_from_due_too_long_and_never_too_short() -> None:
    late = error(stamp_s=0.5)
    assert one(p95(0.9), EVEN, instrument=late).verdict is PASS
    assert one(p95(0.8), EVEN, instrument=late).verdict is INVALID
    assert one(GateSpec(metric="ttft_s.p95", minimum=0.8), EVEN, instrument=late).verdict is INVALID


def test_a_gate_that_the_instrument_alone_keeps_open_is_invalid_and_needs_no_more_requests() -> None:
    result = one(p95(0.865), EVEN, instrument=error(send_s=0.2))
    assert (result.verdict, result.needed) == (INVALID, None)
    assert "not the number of requests" in result.reason
    assert one(p95(0.865), EVEN, instrument=error(send_s=0.005)).verdict is OPEN


def test_too_few_requests_stay_too_few() -> None:
    result = one(gate("ttft_s.p99", 10.0), [0.1] * 100, instrument=error(send_s=0.2))
    assert (result.verdict, result.needed) == (OPEN, 268)


def test_goodput_moves_by_as_many_requests_as_can_have_been_late() -> None:
    slo, times = Slo(ttft_s=0.5), [0.1] * 1880 + [0.52] * 120
    least = GateSpec(metric="goodput", minimum=0.92)
    assert one(least, times, slo=slo, instrument=error()).verdict is PASS
    some = InstrumentError(send=((0.02, 0.0), (0.0, 0.6)))
    assert one(least, times, slo=slo, instrument=some).verdict is INVALID
    few = InstrumentError(send=((0.001, 0.0), (0.0, 0.6)))
    assert one(least, times, slo=slo, instrument=few).verdict is PASS


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (InstrumentError(late_share=0.11), "not keeping up"),
        (InstrumentError(asleep_s=1.0), "suspended for 1 s"),
        (InstrumentError(lost_share=0.02), "lost 2.0%"),
        (InstrumentError(worker_died=True), "died"),
    ],
)
def test_a_harness_that_could_not_keep_up_spoils_every_gate(spoilt: InstrumentError, why: str) -> None:
    for each in (p95(9.0), gate("error_rate", 0.5)):
        result = one(each, EVEN, instrument=spoilt)
        assert result.verdict is INVALID
        assert why in result.reason
    assert one(p95(9.0), EVEN, instrument=InstrumentError(late_share=0.09, asleep_s=0.01)).verdict is PASS


def test_the_error_is_read_from_the_facts_of_a_journal_and_missing_ones_count_as_none() -> None:
    assert InstrumentError.of({}, 0.0) == InstrumentError()
    facts = {
        "send_lag_p99_s": 0.003, "send_lag_max_s": 0.5, "stamp_lag_p99_s": 0.001, "stall_max_s": None,
        "noise_floor_p99_s": 0.0004, "noise_send_p99_s": 0.0005, "steal": 0.01, "sent_late_share": 0.02,
        "stalled_share": 0.04, "asleep_s": 0.0, "worker_deaths": 1,
        "proxy_deaths": 1,
    }  # fmt: skip
    assert InstrumentError.of(facts, 0.5) == InstrumentError(
        send=((0.01, 0.003), (0.0, 0.5)),
        stamp=((0.01, 0.001),),
        noise_send_s=0.0005,
        noise_stamp_s=0.0004,
        steal=0.01,
        late_share=0.04,
        lost_share=0.5,
        worker_died=True,
        proxy_died=True,
    )
