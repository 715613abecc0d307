"""The scenarios that ship: valid, explained, short, and large enough to be judged."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scenarios import catalogue
from scenarios.definition import ArrivalKind, Phase
from scenarios.faults.kinds import KINDS
from scenarios.faults.schedule import scheduled
from scenarios.metrics import FINDING_CATEGORIES, METRICS, MetricKind
from scenarios.odd import ODD_CLASSES
from scenarios.plan import make_plan
from scenarios.rates import expected_count
from scenarios.scenario_file import read_scenario

every_name = pytest.mark.parametrize("name", catalogue.names())


def test_the_catalogue_has_its_trials() -> None:
    assert {"peak-traffic", "odd-input", "drifted-data", "capacity", "rough-seas", "resilience"} <= set(
        catalogue.names()
    )


def test_an_unknown_name_has_no_path() -> None:
    with pytest.raises(KeyError):
        catalogue.path("../errors")


@every_name
def test_a_catalogue_entry_is_valid_and_called_like_its_file(name: str) -> None:
    scenario = read_scenario(catalogue.path(name))
    assert scenario.name == name
    assert scenario.about
    assert scenario.gates


@every_name
def test_a_catalogue_entry_is_explained_to_its_author(name: str) -> None:
    lines = catalogue.path(name).read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("#") for line in lines) >= 8
    assert all(len(line) <= 120 for line in lines)


@every_name
def test_a_catalogue_entry_is_short_and_has_at_least_200_requests(name: str) -> None:
    scenario = read_scenario(catalogue.path(name))
    if scenario.search is not None:
        assert scenario.arrivals.duration_s <= 240.0  # it plans as it goes
        return
    if scenario.chaos is not None:
        assert scenario.chaos.budget_s <= 600.0
        return
    assert scenario.arrivals.duration_s <= (600.0 if scenario.matrix else 120.0)  # a slot for each fault
    assert all(len(make_plan(scenario, seed)[:]) >= 200 for seed in range(5))


def test_the_peak_is_more_than_sixteen_slots_can_serve() -> None:
    arrivals = read_scenario(catalogue.path("peak-traffic")).arrivals
    assert arrivals.kind is ArrivalKind.SPIKE
    assert arrivals.peak * arrivals.spike_s > 16 + 32 + 100
    assert expected_count(arrivals) > 800


def test_odd_input_brings_every_odd_class() -> None:
    scenario = read_scenario(catalogue.path("odd-input"))
    for seed in range(5):
        assert {r.segment for r in make_plan(scenario, seed)[:] if r.profile == "odd"} == set(ODD_CLASSES)


def test_drifted_data_has_enough_of_both_worlds() -> None:
    requests = make_plan(read_scenario(catalogue.path("drifted-data")), 1)[:]
    eras = [r.era for r in requests]
    assert eras.count("A") >= 100
    assert eras.count("B") >= 100


def test_resilience_brings_every_kind_of_fault_once_and_one_at_a_time() -> None:
    faults = read_scenario(catalogue.path("resilience")).faults
    assert [fault.kind for fault in faults] == list(KINDS)
    assert all(later.at_s - sooner.at_s == 10.0 for sooner, later in pairwise(faults))


def test_rough_seas_leaves_time_to_judge_before_and_after() -> None:
    scenario = read_scenario(catalogue.path("rough-seas"))
    for seed in range(20):
        faults = scheduled(scenario.faults, seed, scenario.blast)
        assert faults[0].at_s >= 20.0
        assert max(fault.at_s + fault.for_s for fault in faults) <= scenario.arrivals.duration_s - 40.0
    assert {gate.phase for gate in scenario.gates} == set(Phase)


def test_every_metric_is_explained_and_named_after_its_family() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert name.startswith(metric.family)
        assert metric.about
        assert metric.unit in ("s", "share", "count", "1/s")
        assert (metric.quantile is not None) == (metric.kind is MetricKind.PERCENTILE)
    assert METRICS["ttft_s.p95"].quantile == 0.95
    assert {f"findings.{category}" for category in (*FINDING_CATEGORIES, "any")} <= set(METRICS)
