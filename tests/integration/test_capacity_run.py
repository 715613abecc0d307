"""A search over the wire: probe after probe in one journal, stopped early, and rebuilt as it was written."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from test_trial import Watch

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario, Search, Slo, Workload
from scenarios.journal import JournalReader
from scenarios.rebuild import rebuild
from scenarios.result import Verdict
from scenarios.runner import RunOptions
from scenarios.runs import journal_path
from tests.benchmarks.load_bench.capacity_server import known_server


def options(url: str, runs: Path, budget_s: float, probes: int = 8) -> RunOptions:
    scenario = Scenario(
        name="made",
        about="",
        workload=Workload(mix=(("it-ops", 1.0),)),
        arrivals=Arrivals(ArrivalKind.CONSTANT, budget_s, rate=5.0),
        slo=Slo(ttft_s=0.5),
        gates=(GateSpec("capacity.rate", minimum=10.0),),
        timeout_s=5.0,
        search=Search(probe_s=5.0, probes=probes, high=100.0),
    )
    return RunOptions(scenario=scenario, seed=7, runs_dir=runs, run_id="r1", target=url)


def test_a_search_finds_a_known_capacity_and_keeps_everything_in_one_journal(tmp_path: Path) -> None:
    watch = Watch()
    with known_server(workers=2, service_s=0.1) as url:
        document = asyncio.run(watch.run(options(url, tmp_path, budget_s=60.0, probes=4)))
    found = document.summary.capacity
    assert found is not None
    assert found.rate == pytest.approx(20.0, rel=0.1)  # short probes beside other tests
    assert document.verdict is Verdict.GO
    assert 3 <= len(found.probes) <= 4
    assert watch.kinds.count("search.probe") == len(found.probes)
    assert any("probe 2 of at most 4" in tick.stage for tick in watch.ticks)
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        plan, observations = list(reader.plan()), list(reader.observations())
        assert rebuild(reader) == document
    assert [request.index for request in plan] == list(range(len(plan)))
    assert [request.due_ns for request in plan] == sorted(request.due_ns for request in plan)
    assert {one.index for one in observations} == {request.index for request in plan}
    assert document.summary.planned == len(plan) == sum(document.summary.outcomes.values())


def test_a_search_that_is_stopped_tells_what_it_found_and_is_inconclusive(tmp_path: Path) -> None:
    watch = Watch()

    async def stopped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run(options(url, tmp_path, budget_s=60.0)))
            while "probe 2" not in (watch.ticks[-1].stage if watch.ticks else ""):
                watch.shown.clear()
                await watch.shown.wait()
            watch.stop.set()

    with known_server(workers=2, service_s=0.1) as url:
        asyncio.run(stopped())
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        document = reader.document()
        assert document is not None
        assert rebuild(reader) == document
    assert document.verdict is Verdict.INCONCLUSIVE
    assert document.run.state == "interrupted"
    assert document.summary.capacity is not None
    assert len(document.summary.capacity.probes) == 1
    assert document.summary.planned == sum(document.summary.outcomes.values())


def test_each_probe_asks_other_things_and_the_same_seed_asks_them_again() -> None:
    from scenarios.capacity.probe import Kind
    from scenarios.capacity.search import Next
    from scenarios.runner.search import probe_plan

    scenario = dataclasses.replace(options("http://127.0.0.1:1", Path(), 60.0).scenario, search=None)
    step = Next(Kind.STEADY, 10.0, 10.0, 5.0)
    first = probe_plan(scenario, step, 7, 1, 0, None)
    again = probe_plan(scenario, step, 7, 1, 0, None)
    second = probe_plan(scenario, step, 7, 2, 6_000_000_000, None)
    assert first.hash == again.hash
    assert second[0].due_ns == second.due_ns[0] >= 6_000_000_000
    assert {request.body for request in first[:]} != {request.body for request in second[:]}
