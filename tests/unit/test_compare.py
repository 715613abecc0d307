"""Two runs held against each other: what is surely worse is said to be, and chance is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.compare import Change, Comparison, Side, compare
from scenarios.compare.compare import cliffs_delta
from scenarios.compare.resample import Blocks, blocks_of, draws_of, percentiles, shares
from scenarios.definition import ArrivalKind, Arrivals, Slo
from scenarios.observation import Observation, Outcome
from scenarios.report.comparison import headline, render_comparison, render_comparison_markdown
from scenarios.report.layout import as_it_is
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, RunInfo, Verdict, Window
from scenarios.summary import SummaryContext, summarise_columns
from scenarios.summary.columns import columns_of

NS = 1_000_000_000
N = 400
SLO = Slo(ttft_s=1.0)


def side(ttft_s: Any, plan: str = "p1", failed: Any = (), run_id: str = "r") -> Side:
    """A run of a request a tenth of a second, each with its TTFT; those in `failed` were reset."""
    requests, observations = [], []
    for index, took_s in enumerate(ttft_s):
        due_ns = index * NS // 10
        first_ns = due_ns + round(took_s * NS)
        requests.append(PlannedRequest(index=index, due_ns=due_ns, path="/", body=b"", profile="it-ops"))
        made: dict[str, Any] = {"outcome": Outcome.OK, "first_ns": first_ns, "last_ns": first_ns + NS // 10}
        if index in failed:
            made = {"outcome": Outcome.RESET}
        observations.append(
            Observation(index=index, due_ns=due_ns, sent_ns=due_ns, end_ns=first_ns + NS // 10, begun=1, **made)
        )
    columns = columns_of(requests, observations)
    context = SummaryContext(slo=SLO, arrivals=Arrivals(ArrivalKind.CONSTANT, len(requests) / 10, rate=10.0))
    summary = msgspec.structs.replace(
        summarise_columns(columns, context), window=Window(start_s=0.0, end_s=len(requests) / 10, rule="all")
    )
    run = RunInfo(
        id=run_id, scenario="made", seed=1, plan_hash=plan, target="http://x", model="m",
        started_at="2026-11-24T00:00:00Z", environment={},
    )  # fmt: skip
    return Side(ResultDocument(verdict=Verdict.GO, why="", run=run, summary=summary, gates=()), columns, SLO)


def times(seed: int, slower: float = 1.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).lognormal(-1.5, 0.3, N) * slower


def change(found: Comparison, name: str) -> Change:
    (metric,) = (one for one in found.metrics if one.name == name)
    return metric.change


def test_a_run_is_the_same_as_itself() -> None:
    one = side(times(1))
    found = compare(one, one)
    assert found.paired
    assert {metric.change for metric in found.metrics} <= {Change.SAME, Change.MISSING}
    assert all(metric.low == metric.high == 0.0 for metric in found.metrics if metric.change is Change.SAME)


def test_what_is_slower_is_worse_and_the_other_way_round_better_with_regressions_first() -> None:
    slow, fast = side(times(1, 1.3)), side(times(1))
    found = compare(fast, slow)
    assert found.metrics[0].change is Change.WORSE
    assert change(found, "ttft_s.p95") is Change.WORSE
    assert change(compare(slow, fast), "ttft_s.p95") is Change.BETTER
    assert change(compare(fast, slow, tolerance=0.5), "ttft_s.p95") is Change.SAME


def test_pairs_tell_a_change_more_closely_than_two_samples() -> None:
    before, after = side(times(1)), times(1, 1.08)

    def width(found: Comparison) -> float:
        (metric,) = (one for one in found.metrics if one.name == "ttft_s.p50")
        assert metric.low is not None
        assert metric.high is not None
        return metric.high - metric.low

    assert width(compare(before, side(after))) < 0.5 * width(compare(before, side(after, plan="p2")))


def test_requests_that_fail_make_goodput_and_errors_worse() -> None:
    found = compare(side(times(1)), side(times(1), failed=range(0, N, 5)))
    assert change(found, "goodput") is Change.WORSE
    assert change(found, "error_rate") is Change.WORSE
    assert "are worse" in headline(found)


@pytest.mark.parametrize("seed", [10, 20, 30])
def test_chance_alone_is_seldom_called_a_change(seed: int) -> None:
    called = [
        compare(side(times(seed + 2 * k)), side(times(seed + 2 * k + 1), plan="p2"), tolerance=0.0) for k in range(7)
    ]
    assert sum(any(one.change in (Change.WORSE, Change.BETTER) for one in found.metrics) for found in called) <= 1


def test_runs_that_are_not_alike_say_what_differs() -> None:
    one, other = side(times(1)), side(times(2), plan="p2")
    run = msgspec.structs.replace(other.document.run, scenario="else", state="interrupted")
    other = dataclasses.replace(other, document=msgspec.structs.replace(other.document, run=run), slo=Slo(ttft_s=2.0))
    notes = " / ".join(compare(one, other).notes)
    for words in ("same requests", "made and else", "SLOs differ", "did not reach its end"):
        assert words in notes


def test_too_few_requests_are_not_measured_rather_than_judged() -> None:
    few = side(times(1)[:10])
    assert {metric.change for metric in compare(few, few).metrics} == {Change.MISSING}


def test_the_table_fits_its_width_and_hostile_names_stay_text() -> None:
    one = side(times(1), run_id="\x1b[31m<b>|x")
    found = compare(one, side(times(1, 1.5)))
    for width in (60, 80, 120):
        told = render_comparison(found, width, as_it_is)
        assert all(len(line) <= width for line in told.splitlines())
        assert "\x1b" not in told
    marked = render_comparison_markdown(found)
    assert "<b>" not in marked
    assert "\x1b" not in marked


@given(st.lists(st.floats(0, 9), min_size=1, max_size=30), st.lists(st.floats(0, 9), min_size=1, max_size=30))
def test_cliffs_delta_counts_pairs(a: list[float], b: list[float]) -> None:
    pairs = [(y > x) - (y < x) for x in a for y in b]
    assert cliffs_delta(np.array(a), np.array(b)) == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
@settings(deadline=None)
def test_a_draw_of_every_block_once_is_the_run_itself(values: list[float], rank: float) -> None:
    found = np.array(values)
    blocks = Blocks(np.arange(len(values)), len(values))
    once = np.ones((2, len(values)), dtype=np.float32)
    assert percentiles(found, blocks, once, rank)[0] == np.quantile(found, rank, method="inverted_cdf")
    assert shares(found > 4, found >= 0, blocks, once)[0] == pytest.approx((found > 4).mean())


def test_draws_are_the_same_for_the_same_seed_and_every_block_counts() -> None:
    due_s = np.linspace(0, 60, 500)
    blocks = blocks_of(due_s, 0, 60)
    assert set(blocks.of.tolist()) == set(range(blocks.count))
    assert (draws_of(9, 100, 1) == draws_of(9, 100, 1)).all()
    assert (draws_of(9, 100, 1).sum(axis=1) == 9).all()
