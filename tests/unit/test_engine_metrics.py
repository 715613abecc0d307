"""What the engine exports: percentiles that can be trusted, in a format that others read, at a price worth paying."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from engine import wire
from engine.api.exposition import Counter, Gauge, Histogram, log_bounds
from engine.api.metrics import Metrics


def quantile(histogram: Histogram, share: float) -> float:
    """As PromQL's histogram_quantile does: linear inside the bucket that holds the rank."""
    rank, below = share * sum(histogram.counts), 0
    for index, count in enumerate(histogram.counts):
        if below + count >= rank and count:
            low = histogram.bounds[index - 1] if index else 0.0
            return low + (histogram.bounds[index] - low) * (rank - below) / count
        below += count
    raise AssertionError("nothing was observed")


SHAPES = {
    "log-normal": lambda random: random.lognormal(-4.0, 0.7, 10_000),
    "exponential": lambda random: random.exponential(0.3, 10_000) + 0.002,
    "all alike": lambda random: random.normal(0.0081, 0.00001, 10_000),
    "two humps": lambda random: np.concatenate([random.normal(0.01, 0.001, 9_000), random.normal(2.0, 0.1, 1_000)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["ttft", "itl", "e2e", "queue"])
def test_a_percentile_read_from_the_buckets_is_within_two_percent(name: str, shape: str) -> None:
    values = np.clip(SHAPES[shape](np.random.default_rng(7)), 0.0021, 9.9)
    histogram: Histogram = getattr(Metrics(), name)
    for value in values:
        histogram.observe(float(value))
    # p90 lies between the two humps, where any value is a right answer.
    for share in (0.5, 0.95, 0.99) if shape == "two humps" else (0.5, 0.9, 0.95, 0.99):
        exact = float(np.quantile(values, share, method="inverted_cdf"))
        assert quantile(histogram, share) == pytest.approx(exact, rel=0.02)
    assert histogram.sum == pytest.approx(values.sum())


@given(st.floats(1e-6, 1e3))
def test_a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed(value: float) -> None:
    histogram = Histogram("h", "h", log_bounds(0.001, 10.0, 1.1))
    histogram.observe(value)
    index = histogram.counts.index(1)
    bounds = (*histogram.bounds, math.inf)
    assert value <= bounds[index]
    assert index == 0 or value > bounds[index - 1]


def test_bounds_rise_by_their_factor_and_reach_the_highest_value() -> None:
    bounds = log_bounds(0.0002, 120.0, 1.02)
    assert bounds[0] == 0.0002
    assert bounds[-1] >= 120.0
    ratios = np.array(bounds[1:]) / np.array(bounds[:-1])
    assert ratios.min() > 1.0
    assert ratios.max() < 1.021


def test_the_exposition_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.requests.labels("ok").inc(3)
    metrics.slots.set(16)
    for value in (0.0001, 0.5, 0.5, 1e9):
        metrics.ttft.observe(value)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    assert families["seatrial_slots"].samples[0].value == 16
    assert {tuple(sample.labels.items()): sample.value for sample in families["seatrial_requests"].samples}[
        ("outcome", "ok"),
    ] == 3
    ttft = families["seatrial_ttft_seconds"]
    assert ttft.type == "histogram"
    by_bound = {s.labels["le"]: s.value for s in ttft.samples if s.name.endswith("_bucket")}
    assert list(by_bound.values()) == sorted(by_bound.values())
    assert by_bound["+Inf"] == 4
    assert by_bound["0.001"] == 1
    ends = {sample.name: sample.value for sample in ttft.samples if not sample.name.endswith("_bucket")}
    assert ends["seatrial_ttft_seconds_count"] == 4
    assert ends["seatrial_ttft_seconds_sum"] == 1e9 + 1.0001


def test_every_series_is_there_before_anything_happened() -> None:
    text = Metrics().render().decode()
    for name in (
        "ttft_seconds_count",
        "itl_seconds_count",
        "e2e_seconds_count",
        "queue_seconds_count",
        "step_seconds_count",
        "step_overhead_seconds_count",
        "step_python_seconds_count",
        "requests_running",
        "requests_waiting",
        "slots",
        "queue_limit",
        "kv_cells",
        "kv_cells_used",
        "kv_cells_cached",
        "decode_up",
        'requests_total{outcome="deadline"}',
        'tokens_total{kind="completion"}',
        "prompt_tokens_cached_total",
        "preemptions_total",
        'response_cache_total{result="hit"}',
        "decode_restarts_total",
    ):
        assert f"\nseatrial_{name} 0" in text, name


def test_a_step_is_told_apart_into_llama_sampling_and_python() -> None:
    metrics = Metrics()
    metrics.slots.set(2)
    outputs = [wire.Output(1, "a", 1), wire.Output(2, "b", 2)]
    metrics.on_step(wire.Step(0, [], outputs, 2, 1, 30, 0.004, 0.006, sample_s=0.0015, kv_cached=7, preempted=1))
    assert metrics.python.sum == pytest.approx(0.0005)
    assert metrics.overhead.sum == pytest.approx(0.002)
    assert metrics.step.sum == 0.006
    assert (metrics.running.value, metrics.waiting.value) == (2, 1)
    assert (metrics.kv_used.value, metrics.kv_cached.value) == (30, 7)
    assert (metrics.tokens.labels("completion").value, metrics.preemptions.value) == (3, 1)
    metrics.on_step(wire.Step(0, [], [], 1, 3, 0, 0.0, 0.0))  # a heartbeat is no step
    assert metrics.waiting.value == 2  # one of the three is about to get the free slot
    assert sum(metrics.step.counts) == 1
    metrics.on_death()
    assert metrics.kv_cached.value == 0


def test_a_counter_without_a_label_and_a_gauge_show_one_line_each() -> None:
    counter, gauge = Counter("c", "about c"), Gauge("g", "about g")
    counter.inc()
    assert counter.render() == "# HELP c_total about c\n# TYPE c_total counter\nc_total 1.0\n"
    assert gauge.render() == "# HELP g about g\n# TYPE g gauge\ng 0.0\n"
