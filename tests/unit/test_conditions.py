"""Conditions on live figures: fed tick by tick, they hold only when the figure stayed beyond its bound long enough."""

from __future__ import annotations

import msgspec
import pytest
from test_report_samples import make_tick

from scenarios.conditions import FIGURES, RECENT_S, Watch, in_words
from scenarios.definition import Condition
from scenarios.observation import Outcome
from scenarios.tick import EngineSample, Quantiles, Tick


def tick(t_s: float, **changes: object) -> Tick:
    return msgspec.structs.replace(make_tick(), t_s=t_s, **changes)


def outcomes(**counts: int) -> dict[str, int]:
    return dict.fromkeys((outcome.value for outcome in Outcome), 0) | counts


def test_a_condition_holds_once_it_has_held_for_so_long() -> None:
    watch = Watch(Condition("in_flight", above=10.0, for_s=1.0))
    held = [watch.holds(tick(at / 4, in_flight=11)) for at in range(6)]
    assert held == [False, False, False, False, True, True]


def test_a_break_begins_it_anew() -> None:
    watch = Watch(Condition("in_flight", above=10.0, for_s=0.5))
    counts = [11, 11, 10, 11, 11, 11]
    assert [watch.holds(tick(at / 4, in_flight=n)) for at, n in enumerate(counts)] == [False] * 5 + [True]


def test_without_a_length_it_holds_at_once_and_below_is_the_other_side() -> None:
    assert Watch(Condition("host_cpu", below=0.5)).holds(tick(0.0, host_cpu=0.4))
    assert not Watch(Condition("host_cpu", below=0.5)).holds(tick(0.0, host_cpu=0.5))


def test_shares_are_of_what_ended_in_the_last_ten_seconds() -> None:
    watch = Watch(Condition("error_rate", above=0.5))
    assert not watch.holds(tick(0.0, outcomes=outcomes(ok=100)))
    assert watch.value is None  # nothing has ended since the first tick
    assert not watch.holds(tick(1.0, outcomes=outcomes(ok=105, reset=5)))
    assert watch.value == 0.5
    assert watch.holds(tick(2.0, outcomes=outcomes(ok=105, reset=4, timeout=2, http_5xx=3)))
    assert watch.value == pytest.approx(9 / 14)
    assert not watch.holds(tick(RECENT_S + 2.0, outcomes=outcomes(ok=106, reset=4, timeout=2, http_5xx=3)))
    assert watch.value == 0.0  # the errors are older than ten seconds


def test_whoever_hung_up_on_purpose_and_what_was_never_sent_count_in_no_share() -> None:
    watch = Watch(Condition("ok_rate", below=0.9))
    watch.holds(tick(0.0, outcomes=outcomes()))
    assert not watch.holds(tick(1.0, outcomes=outcomes(ok=1, cancelled=50, unsent=50)))
    assert watch.value == 1.0
    assert watch.holds(tick(2.0, outcomes=outcomes(ok=1, shed=1)))


def test_an_unknown_figure_satisfies_no_condition() -> None:
    for condition in (Condition("ttft_s.p95", above=0.0), Condition("ttft_s.p95", below=9.0)):
        watch = Watch(condition)
        assert not watch.holds(tick(0.0, ttft=Quantiles()))
        assert watch.value is None


def test_every_figure_is_read_from_a_tick() -> None:
    before = tick(0.0, outcomes=outcomes())
    now = tick(
        1.0, outcomes=outcomes(ok=6, shed=2, reset=2), in_flight=3, host_cpu=0.5, host_memory=0.25,
        ttft=Quantiles(0.1, 0.2, 0.3, 9), itl=Quantiles(0.01, 0.02, 0.03, 9), engine=EngineSample(restarts=2),
    )  # fmt: skip
    assert {name: figure.of(now, before) for name, figure in FIGURES.items()} == {
        "ttft_s.p50": 0.1, "ttft_s.p95": 0.2, "ttft_s.p99": 0.3, "itl_s.p95": 0.02, "itl_s.p99": 0.03,
        "ok_rate": 0.6, "error_rate": 0.2, "shed_rate": 0.2, "in_flight": 3.0, "host_cpu": 0.5, "host_memory": 0.25,
        "engine.restarts": 2.0,
    }  # fmt: skip


def test_a_condition_is_told_in_words() -> None:
    assert in_words(Condition("error_rate", above=0.5, for_s=10.0)) == "error_rate above 0.5 for 10 s"
    assert in_words(Condition("ttft_s.p95", below=0.2)) == "ttft_s.p95 below 0.2 s"
