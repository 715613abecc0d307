"""The benchmarks' arithmetic and verdicts, apart from any measuring."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.engine_bench import (
    target_death,
    target_fairness,
    target_histograms,
    target_long_prompt,
    target_memory,
    target_overload,
    target_shared_prefix,
    target_step_time,
    target_throughput,
)
from tests.benchmarks.engine_bench.client import Answer
from tests.benchmarks.engine_bench.errors import BenchmarkError, Unmeasured
from tests.benchmarks.engine_bench.gguf_file import Tensor, metadata_of, write
from tests.benchmarks.engine_bench.load import Loaded, tokens_within
from tests.benchmarks.engine_bench.peers import Kind, Peers
from tests.benchmarks.engine_bench.probe import Metrics
from tests.benchmarks.engine_bench.prompts import chats, poisson
from tests.benchmarks.engine_bench.shapes import vocabulary
from tests.benchmarks.engine_bench.stats import bucket_quantile, estimate, jain, line, ratio
from tests.benchmarks.engine_bench.table import (
    LOAD,
    Bound,
    Document,
    Row,
    judged,
    load,
    merged,
    not_run,
    render,
    save,
    write_into,
)

AT_LEAST_ONE = Bound(1.0, at_least=True)


def test_the_median_of_ratios_comes_with_an_interval_that_holds_it() -> None:
    found = ratio([(2.0, 1.0), (3.0, 1.0), (10.0, 2.0), (8.0, 2.0), (4.1, 1.0)])
    assert found.value == 4.0
    assert 2.0 <= found.low < 4.0 < found.high <= 5.0
    assert found == ratio([(2.0, 1.0), (3.0, 1.0), (10.0, 2.0), (8.0, 2.0), (4.1, 1.0)])


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    intervals = [estimate(list(rng.normal(1.0, 0.1, size=10))) for _ in range(200)]
    held = sum(found.low <= 1.0 <= found.high for found in intervals)
    assert held >= 176


def test_an_estimate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no measurement"):
        estimate([])


def test_jain_is_one_for_equal_shares_and_a_share_for_one_that_has_all() -> None:
    assert jain([5.0] * 8) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert math.isnan(jain([0.0, 0.0]))


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20))
def test_jain_stays_between_a_share_and_one(shares: list[float]) -> None:
    assert 1.0 / len(shares) - 1e-9 <= jain(shares) <= 1.0 + 1e-9


def test_a_quantile_lies_inside_its_bucket_in_proportion() -> None:
    bounds, cumulative = [0.1, 0.2, 0.4, math.inf], [10.0, 30.0, 40.0, 40.0]
    assert bucket_quantile(bounds, cumulative, 0.5) == pytest.approx(0.15)
    assert bucket_quantile(bounds, cumulative, 0.95) == pytest.approx(0.36)
    assert bucket_quantile(bounds, [0.0, 0.0, 0.0, 5.0], 0.5) == 0.4
    assert math.isnan(bucket_quantile(bounds, [0.0] * 4, 0.5))


@given(st.lists(st.floats(0.0, 0.999), min_size=20, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_bucket_quantile_is_at_most_a_bucket_away_from_the_true_one(values: list[float], q: float) -> None:
    bounds = [index / 50 for index in range(1, 51)] + [math.inf]
    cumulative = [float(sum(value <= bound for value in values)) for bound in bounds]
    true = float(np.quantile(values, q, method="inverted_cdf"))
    assert abs(bucket_quantile(bounds, cumulative, q) - true) <= 0.02 + 1e-9


def test_a_line_is_found_through_noisy_points() -> None:
    rng = np.random.default_rng(1)
    found = line([(float(x), 150.0 + 20.0 * x + float(rng.normal(0, 2))) for x in (1, 8, 16) for _ in range(10)])
    assert found.slope.low < 20.0 < found.slope.high
    assert found.intercept.value == pytest.approx(150.0, abs=3.0)
    with pytest.raises(ValueError, match="two different x"):
        line([(1.0, 2.0), (1.0, 3.0)])


def test_tokens_are_counted_by_the_stamps_of_their_events() -> None:
    answer = Answer(0, status=200, events_ns=[10, 20, 30, 40], end_ns=41, tokens=8)
    assert tokens_within([answer, Answer(0)], 15, 40) == 4.0
    assert Loaded([answer], 0, 1_000_000_000).tokens_per_s() == 8.0
    assert answer.gaps_s == [1e-8] * 3


def test_the_same_seed_asks_the_same_of_every_server_and_another_seed_something_else() -> None:
    assert chats(3, 5, 20, 40) == chats(3, 5, 20, 40)
    assert {ask.user for ask in chats(3, 5, 20, 40)}.isdisjoint(ask.user for ask in chats(4, 5, 20, 40))


def test_poisson_arrivals_are_in_order_and_about_as_many_as_asked_for() -> None:
    arrivals = poisson(1, 20.0, 50.0, iter(chats(1, 2000, 1, 1)))
    times = [due_s for due_s, _ in arrivals]
    assert times == sorted(times)
    assert 850 < len(times) < 1150
    assert times[-1] < 50.0


def test_every_word_of_three_letters_is_one_token_of_a_random_model_and_so_is_each_way_to_it() -> None:
    tokens, kinds = vocabulary(32_000)
    known = set(tokens)
    assert len(tokens) == len(known) == len(kinds) == 32_000
    for piece in ("\u2581", "a", "z", "\u2581q", "qx", "\u2581qx", "\u2581qxz", "\u2581zzz"):
        assert piece in known


def test_a_written_gguf_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    metadata = {"a.text": "x", "a.number": 3, "a.flag": True, "a.real": 0.5, "a.list": ["p", "q"], "a.kinds": [1, 3]}
    write(path, metadata, [Tensor("t.weight", (2, 32), True, [b"\1" * 68])])
    assert metadata_of(path) == metadata
    assert path.stat().st_size % 32 == 0
    with pytest.raises(ValueError, match="should have"):
        write(path, metadata, [Tensor("t.weight", (2, 32), True, [b""])])
    assert [file.name for file in tmp_path.iterdir()] == ["small.gguf"]


def test_metrics_are_read_subtracted_and_seen_as_histograms() -> None:
    page = '# HELP x y\nx_bucket{le="0.5"} 2.0\nx_bucket{le="+Inf"} 4.0\nx_sum 3.0\nx_count 4.0\nrunning 1.0\n'
    before, now = Metrics.parse("x_sum 1.0\n"), Metrics.parse(page)
    assert now.since(before).histogram("x").sum == 2.0
    assert now.histogram("x").bounds == (0.5, math.inf)
    assert now.histogram("x").mean == 0.75
    assert now.histogram("nothing").count == 0.0
    assert math.isnan(now.value("nothing"))


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (1.2, 1.1, 1.3, "met"),
        (1.02, 0.98, 1.1, "met (the interval allows either)"),
        (0.8, 0.7, 0.9, "short by 20%"),
        (float("nan"), None, None, "not measured"),
    ],
)
def test_a_verdict_says_how_far_short_and_whether_it_is_sure(
    value: float, low: float | None, high: float | None, words: str
) -> None:
    assert AT_LEAST_ONE.verdict(value, low, high) == words


def test_a_later_run_replaces_the_rows_of_its_target_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    slow = Row(1, "speed", "≥ 1x", "0.9x", met=False, verdict="short")
    first = merged(load(path), [slow], {"CPU": "a"}, None)
    save(path, merged(first, [not_run(2, "steps", "", "why")], {"CPU": "b", LOAD: "0.1"}, [1.0]))
    again = merged(load(path), [Row(1, "speed", "≥ 1x", "1.1x", met=True, verdict="met")], {"CPU": "b"}, None)
    table = render(again)
    assert "| 1 | speed | ≥ 1x | 1.1x |  | ✔ met |" in table
    assert "0.9x" not in table
    assert "not run: why" in table
    assert "CPU: b. Targets 1 (load before unknown), 2 (load before 0.1)." in table


def test_a_run_on_a_gpu_stands_beside_the_one_on_the_cpu(tmp_path: Path) -> None:
    cpu = merged(Document(), [Row(1, "speed", "≥ 1x", "0.9x", met=False, verdict="short")], {"CPU": "a"}, None)
    assert "On a GPU: not run" in render(cpu)
    fast = Row(1, "speed", "≥ 1x", "1.2x", met=True, verdict="met", where="GPU, 1b")
    both = render(merged(cpu, [fast], {"GPU": "b"}, None))
    assert "| 1 (GPU, 1b) | speed" in both
    assert "| 1 | speed" in both
    assert "On a GPU: not run" not in both


@pytest.mark.parametrize("kind", [Kind.LLAMA_SERVER, Kind.EXAMPLE, Kind.LLAMA_CPP_SERVER])
def test_a_peer_that_is_not_here_is_named_with_how_to_get_it(kind: Kind) -> None:
    with pytest.raises(Unmeasured, match=rf"no {kind.value} here \(--[a-z-]+ PATH\)"):
        Peers().require(kind)
    assert any(hint.startswith(f"no {kind.value} here") and "0.3.36" in hint for hint in Peers().hints())
    Peers().require(Kind.OURS)


def test_the_table_goes_between_the_marks_of_a_document_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "engine.md"
    path.write_text("before\n<!-- engine-table -->\nold\n<!-- /engine-table -->\nafter\n")
    write_into(path, "| new \\1 |")
    assert path.read_text() == "before\n<!-- engine-table -->\n| new \\1 |\n<!-- /engine-table -->\nafter\n"
    path.write_text("no marks")
    with pytest.raises(BenchmarkError, match="engine-table"):
        write_into(path, "x")


def test_a_result_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("[1]")
    with pytest.raises(BenchmarkError, match="name another file"):
        load(path)


def met(rows: list[Row]) -> list[bool | None]:
    return [row.met for row in rows]


def test_throughput_is_judged_by_the_peer_and_the_model() -> None:
    servers = [kind.value for kind in (Kind.OURS, Kind.LLAMA_SERVER, Kind.EXAMPLE, Kind.LLAMA_CPP_SERVER)]
    demo = target_throughput.Case("demo", 8, servers, [[95.0, 100.0, 80.0, 20.0]] * 3, {}, 0.1)
    assert met(target_throughput.judge([demo])) == [None, True, False, True]
    other = target_throughput.Case("160m", 1, servers[:2], [[95.0, 100.0]] * 3, {Kind.EXAMPLE.value: "not here"}, 0.1)
    rows = target_throughput.judge([other])
    assert met(rows) == [None, False, None]
    assert rows[2].verdict == "not run: not here"


def test_step_time_is_judged_at_each_number_of_sequences() -> None:
    points = [target_step_time.Point("demo", n, 140.0 + 25.0 * n, 100.0) for n in (1, 8, 16) for _ in range(2)]
    assert met(target_step_time.judge(points)) == [True, False, False, None]


def test_a_long_prompt_is_judged_by_gap_and_by_throughput() -> None:
    ours = target_long_prompt.Landing(0.1, 1000, 10.0, 5.0)
    peer = target_long_prompt.Landing(1.0, 1000, 9.0, 3.0)
    found = target_long_prompt.Measured("160m", 4096, 3072, [target_long_prompt.Round(ours, peer, 9.9)] * 3, "")
    assert met(target_long_prompt.judge(found)) == [True, False, True, None]
    alone = target_long_prompt.Measured("160m", 4096, 3072, [target_long_prompt.Round(ours, None, 9.9)], "not here")
    assert met(target_long_prompt.judge(alone)) == [None, None, True, None]


def test_a_shared_prefix_is_judged_cold_and_warm() -> None:
    rounds = [target_shared_prefix.Round(4.0, 1.0, 10.0)] * 2
    assert met(target_shared_prefix.judge(target_shared_prefix.Measured("160m", 32, 1000, rounds, ""))) == [True, False]


def test_fairness_is_judged_by_shares_and_by_what_the_others_feel() -> None:
    found = target_fairness.Measured([[1.0] * 8], [(1.3, 1.0)] * 2, (1.0, 1.0), (17.0, 8.0))
    assert met(target_fairness.judge(found)) == [True, False, None]


def overloaded(**changes: object) -> list[bool | None]:
    good: dict[str, object] = {
        "capacity": [100.0, 100.0],
        "requests_per_s": 40.0,
        "goodput": [97.0, 98.0],
        "seconds": 300.0,
        "worst_held": 48,
        "may_hold": 48,
        "samples": 3000,
        "refused_s": [0.01, 0.02],
        "without_retry_after": 0,
        "unexpected": [],
        "never_ended": 0,
        "sent": 12_000,
    }
    return met(target_overload.judge(target_overload.Measured(**(good | changes))))  # type: ignore[arg-type]


def test_overload_is_judged_by_queue_goodput_refusals_and_endings() -> None:
    assert overloaded() == [True, True, True, True]
    assert overloaded(worst_held=49) == [False, True, True, True]
    assert overloaded(goodput=[90.0, 91.0]) == [True, False, True, True]
    assert overloaded(without_retry_after=1) == [True, True, False, True]
    assert overloaded(unexpected=["500 oh"]) == [True, True, True, False]
    assert overloaded(refused_s=[]) == [True, True, None, True]


def test_one_client_that_is_not_told_spoils_the_deaths() -> None:
    fine = target_death.Death(2, [0.1, 0.2], [], 0.05, 0.6)
    silent = target_death.Death(2, [0.1], ["closed"], 0.05, 0.6)
    assert met(target_death.judge(target_death.Measured([0.3], [fine] * 2, [1.6], 0.0, 0))) == [True] * 4 + [None]
    rows = target_death.judge(target_death.Measured([0.3], [fine, silent], [1.6], 1200.0, 0))
    assert met(rows) == [False, True, True, True, None, True]
    assert rows[0].interval.startswith("1 of 2")


def test_memory_is_judged_by_its_slope_and_beside_llama_server() -> None:
    ours = [(n, 100_000_000 + 2048 * n) for n in range(500, 20_001, 500)]
    found = target_memory.Measured(ours, [(20_000, 50_000_000)], "")
    assert met(target_memory.judge(found)) == [False, True]


def test_histograms_are_judged_beyond_the_transport_time() -> None:
    points = [
        target_histograms.Point(name, q, 0.1, 0.095) for name in target_histograms.SERIES for q in (0.5, 0.95, 0.99)
    ]
    found = target_histograms.Measured([points] * 2, [0.004], "160m", [0.01] * 5, [0.03] * 5)
    rows = target_histograms.judge(found)
    assert met(rows) == [True, True, True, False, False, False, True, True, True, True, False]


def test_an_estimate_becomes_a_row_with_its_interval() -> None:
    row = judged(1, "speed", AT_LEAST_ONE, estimate([1.1, 1.2, 1.3]))
    assert (row.asked, row.measured, row.verdict) == ("≥ 1x", "1.20x", "met")
    assert row.interval.endswith("n=3")
