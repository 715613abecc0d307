"""The measured window: what is due in it counts, the outcomes count everything, and it says what was left out."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from test_summary import context, planned, seen

from scenarios.definition import WarmupRule, WindowSpec
from scenarios.observation import Finding, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.summary import Columns, columns_of, measured_window, summarise_columns
from scenarios.summary.window import cut, or_never

AUTO, NONE = WindowSpec(WarmupRule.AUTO), WindowSpec()
MS = 1_000_000


def run(ttft_ms: list[float], spacing_ms: int = 100, **last: object) -> Columns:
    """Answered requests, one each `spacing_ms`; the last one is changed by `last`."""
    requests, observations = [], []
    for index, late in enumerate(ttft_ms):
        due = index * spacing_ms * MS
        first = due + round(late * MS)
        requests.append(PlannedRequest(index=index, due_ns=due, path="/", body=b"", profile="it-ops"))
        observations.append(
            Observation(
                index=index, due_ns=due, sent_ns=due, outcome=Outcome.OK, first_ns=first, last_ns=first + 20 * MS,
                end_ns=first + 20 * MS, event_ns=(first, first + 20 * MS), answer="x", completion_tokens=2,
            )
        )  # fmt: skip
    return columns_of(requests, observations)


def cold(n: int = 400, until: int = 80) -> Columns:
    rng = np.random.default_rng(8)
    return run([float(v) * (600 if i < until else 100) for i, v in enumerate(rng.lognormal(0, 0.3, n))])


def test_a_warm_up_is_left_out_of_everything_but_the_outcomes() -> None:
    columns = cold()
    measured = measured_window(columns, AUTO, cut_off=False)
    summary = summarise_columns(columns, context(), measured)
    assert summary.window.steady is True
    assert summary.window.start_s == pytest.approx(8.0, abs=2.0)
    assert summary.window.end_s == pytest.approx(39.9)
    assert summary.window.note.startswith(f"warm-up: first {summary.window.start_s:.4g} s ({summary.window.excluded} ")
    assert summary.planned == sum(summary.outcomes.values()) == 400
    assert summary.ttft_s.n == 400 - summary.window.excluded == summary.itl_s.n
    assert summary.ttft_s.max is not None
    assert summary.ttft_s.max < 0.4
    assert summary.window_s == pytest.approx(39.9 - summary.window.start_s)


def test_a_warm_up_of_given_length_is_left_out_and_a_steady_run_is_whole() -> None:
    columns = cold()
    given = measured_window(columns, WindowSpec(WarmupRule.TIME, 10.0), cut_off=False).window
    assert (given.start_s, given.excluded, given.steady) == (10.0, 100, None)
    assert "as the scenario says" in given.note
    steady = measured_window(cold(until=0), AUTO, cut_off=False).window
    assert (steady.excluded, steady.steady, steady.note) == (0, True, "warm-up: none found")
    few = measured_window(run([100.0] * 20), AUTO, cut_off=False).window
    assert (few.excluded, few.steady) == (0, None)
    assert "not looked for" in few.note


def test_a_run_that_never_becomes_steady_is_kept_whole_and_says_so() -> None:
    columns = cold(until=200)
    measured = measured_window(columns, AUTO, cut_off=False)
    assert measured.columns is columns
    assert measured.window.steady is False
    assert measured.window.note.startswith("not steady: ")


def test_the_drain_is_no_part_of_the_rate() -> None:
    columns = run([100.0] * 9 + [60_000.0])
    summary = summarise_columns(columns, context(), measured_window(columns, NONE, cut_off=False))
    assert summary.window_s == pytest.approx(0.9)
    assert summary.throughput["requests_per_s"] == pytest.approx(8 / 0.9)  # the ninth ended after the last came due
    assert summary.ttft_s.n == 10


def test_requests_that_all_came_due_at_once_have_the_time_that_they_took() -> None:
    columns = run([100.0, 480.0], spacing_ms=0)
    assert measured_window(columns, NONE, cut_off=False).length_s == pytest.approx(0.5)


def test_a_run_that_its_gates_ended_counts_as_far_as_everything_is_known() -> None:
    requests = [planned(i) for i in range(6)]
    observations = (
        [seen(i) for i in range(3)] + [seen(i, Outcome.CANCELLED) for i in (3, 4)] + [seen(5, Outcome.UNSENT)]
    )
    columns = columns_of(requests, observations)
    early = measured_window(columns, NONE, settled=3, cut_off=False)
    assert early.columns.index.tolist() == [0, 1, 2]
    assert (early.window.end_s, early.window.excluded) == (2.0, 3)
    summary = summarise_columns(columns, context(), early)
    assert (summary.planned, summary.outcomes["unsent"], summary.goodput) == (6, 1, 1.0)
    assert "the first 3 requests of the plan decided the gates" in summary.window.note


def test_a_run_that_was_stopped_is_not_blamed_for_what_it_never_came_to_send() -> None:
    requests = [planned(i) for i in range(4)]
    observations = [seen(0), seen(1, Outcome.RESET), seen(2, Outcome.UNSENT), seen(3, Outcome.UNSENT)]
    columns = columns_of(requests, observations)
    stopped = summarise_columns(columns, context(), measured_window(columns, NONE, cut_off=True))
    assert (stopped.goodput, stopped.window_s, stopped.window.excluded) == (0.5, 1.0, 2)
    whole = summarise_columns(columns, context(), measured_window(columns, NONE, cut_off=False))
    assert whole.goodput == 0.25


def test_a_cut_takes_what_belongs_to_a_row_along() -> None:
    requests = [planned(0), planned(1, "odd"), planned(2), planned(3)]
    observations = [seen(i, gaps_ms=(10 + i, 20 + i)) for i in range(4)]
    found = [Finding(index=i, category="leak", severity="high", start=0, end=1, detector="rule") for i in (0, 2)]
    columns = columns_of(requests, observations, findings=found)
    rest = cut(columns, np.array([False, True, True, True]))
    assert rest.index.tolist() == [1, 2, 3]
    assert rest.gap_row.tolist() == [1, 1, 2, 2]
    assert rest.gap_s.tolist() == pytest.approx([0.012, 0.022, 0.013, 0.023])
    assert {name: rows.tolist() for name, rows in rest.flagged.items()} == {"leak": [1]}
    assert rest.latency_s["ttft_s"].shape == rest.raw_s["ttft_s"].shape == (3,)
    assert rest.findings == columns.findings
    assert cut(columns, np.ones(4, dtype=np.bool_)) is columns


def test_never_is_later_than_any_time_but_not_for_what_we_hung_up_ourselves() -> None:
    requests = [planned(0), planned(1), planned(2), planned(3, "odd"), planned(4)]
    outcomes = (Outcome.OK, Outcome.SHED, Outcome.CANCELLED, Outcome.OK, Outcome.REFUSED)
    observations = [seen(i, outcome) for i, outcome in enumerate(outcomes)]
    silent = msgspec.structs.replace(observations[0], first_ns=None, answer_ns=None, last_ns=None, event_ns=())
    late = or_never(columns_of(requests, [silent, *observations[1:]]), "ttft_s")
    assert late[0] == 0.5  # a whole answer without text: its end stands in
    assert np.isinf(late[[1, 4]]).all()
    assert np.isnan(late[[2, 3]]).all()
