"""A whole run against an outside target that does as it is told: what goes wrong beside it must not cost the result."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest
from scripted_server import ScriptedServer, Turn
from test_load_pool import FINE

from scenarios.definition import ArrivalKind, Arrivals, FaultSpec, GateSpec, Scenario, Workload
from scenarios.errors import JournalError, StoppedEarly
from scenarios.gates import instrument
from scenarios.journal import JournalReader, JournalWriter, send_command
from scenarios.rebuild import rebuild
from scenarios.result import ResultDocument, Verdict
from scenarios.runner import RunOptions, judging, run_trial
from scenarios.runs import journal_path
from scenarios.tick import Event, Tick

GATES = (GateSpec("error_rate", maximum=0.5), GateSpec("engine.restarts", maximum=0))


def options(url: str, runs: Path, duration_s: float = 2.0, **rest: object) -> RunOptions:
    scenario = Scenario(
        name="made",
        about="",
        workload=Workload(mix=(("it-ops", 1.0),)),
        arrivals=Arrivals(ArrivalKind.CONSTANT, duration_s, rate=20.0),
        timeout_s=5.0,
        **({"gates": GATES[:1]} | rest),  # type: ignore[arg-type]
    )
    return RunOptions(scenario=scenario, seed=7, runs_dir=runs, run_id="r1", target=url, preflight_s=0.5)


async def fine(turn: Turn) -> bool:
    await turn.say(FINE)
    return True


class Watch:
    """What a run shows, and a stop that can be asked for."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.events: list[Event] = []
        self.stop = asyncio.Event()
        self.shown = asyncio.Event()

    async def run(self, trial: RunOptions) -> ResultDocument:
        return await run_trial(trial, self.tick, self.events.append, self.stop)

    def tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        self.shown.set()

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


async def test_the_document_made_anew_is_the_one_the_run_wrote_and_no_proxy_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, gates=GATES))
    assert document.summary.outcomes["ok"] == document.summary.planned == 40
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader) == document
    (error_rate, restarts) = watch.ticks[-1].gates
    assert (error_rate.state, restarts.state, restarts.measured) == ("pass", "open", None)
    assert watch.ticks[0].planned == 0  # shown while nothing had started
    assert watch.ticks[-1].state == "done"


async def test_a_target_that_vanishes_in_mid_run_costs_no_observation_and_is_no_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instrument, "MOST_LATE", 1.0)  # that this machine may be busy spoils no verdict here
    watch = Watch()
    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path)))
        await server.heard(8)
    document = await running
    assert sum(document.summary.outcomes.values()) == document.summary.planned == 40
    assert document.summary.outcomes["refused"] > 20
    assert document.verdict is Verdict.NO_GO


async def test_a_stop_before_the_first_request_leaves_every_one_unsent_and_no_drift(tmp_path: Path) -> None:
    watch = Watch()

    def heard(event: Event) -> None:
        if event.kind == "phase.preflight":
            watch.stop.set()

    async with ScriptedServer(fine) as server:
        document = await run_trial(options(server.url, tmp_path, duration_s=30.0), watch.tick, heard, watch.stop)
    assert document.summary.outcomes["unsent"] == document.summary.planned == 600
    assert (document.run.state, document.verdict) == ("interrupted", Verdict.INCONCLUSIVE)
    assert document.summary.drift["evaluations"] == 0


async def test_faults_that_cannot_be_are_refused_and_the_run_goes_on(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        trial = options(server.url, tmp_path, faults=(FaultSpec("engine.kill", 0.1),))
        running = asyncio.create_task(watch.run(trial))
        await watch.shown.wait()
        send_command(journal_path(tmp_path, "r1"), "fault", "engine.kill")
        document = await running
    assert (watch.kinds.count("fault.refused"), watch.kinds.count("fault.skipped")) == (1, 1)
    assert any("not started yet" in event.text for event in watch.events)
    assert document.summary.recovery == ()
    assert document.verdict is Verdict.GO


async def test_a_journal_that_can_no_longer_be_written_ends_the_run_and_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    commit = JournalWriter.commit

    def full(writer: JournalWriter) -> None:
        if watch.ticks and watch.ticks[-1].done:
            raise JournalError("cannot write the journal (database or disk is full)")
        commit(writer)

    monkeypatch.setattr(JournalWriter, "commit", full)
    async with ScriptedServer(fine) as server:
        with pytest.raises(JournalError, match="disk is full"):
            await watch.run(options(server.url, tmp_path, duration_s=60.0))
    assert psutil.Process().children(recursive=True) == []
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader).verdict is not Verdict.GO


async def test_an_error_beside_the_run_ends_it_is_raised_bare_and_journalled(tmp_path: Path) -> None:
    watch = Watch()

    def fails(tick: Tick) -> None:
        if tick.done:
            raise ZeroDivisionError("the screen is broken")

    async with ScriptedServer(fine) as server:
        with pytest.raises(ZeroDivisionError):
            await run_trial(options(server.url, tmp_path, duration_s=60.0), fails, watch.events.append, watch.stop)
    assert psutil.Process().children(recursive=True) == []
    assert watch.kinds[-1] == "run.failed"
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.run().state == "failed"
        assert rebuild(reader).verdict is not Verdict.GO


async def test_a_run_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path, duration_s=60.0)))
        await server.heard(3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert psutil.Process().children(recursive=True) == []
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.run().state == "interrupted"
        assert [event.kind for _, event in reader.events()][-1] == "operator.stop"


async def test_a_stop_while_the_target_starts_ends_the_run_at_once(tmp_path: Path) -> None:
    async def silent(_: Turn) -> bool:
        await asyncio.sleep(60)
        return False

    watch = Watch()
    async with ScriptedServer(silent) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path)))
        await watch.shown.wait()
        watch.stop.set()
        with pytest.raises(StoppedEarly, match="being prepared"):
            await running
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.run().state == "interrupted"


async def test_two_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        one, other = await asyncio.gather(
            *(Watch().run(options(server.url, tmp_path / name)) for name in ("one", "other"))
        )
    assert one.run.plan_hash == other.run.plan_hash
    assert one.summary.outcomes["ok"] == other.summary.outcomes["ok"] == 40


async def test_a_large_run_is_judged_elsewhere_and_comes_to_the_same_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LARGE", 0)
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, gates=GATES))
    assert document.summary.outcomes["ok"] == 40
    assert watch.ticks[-2].state == "judging"
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.document() == rebuild(reader) == document


async def test_a_run_that_cannot_be_judged_says_why_and_keeps_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LARGE", 0)
    judge = tmp_path / "judge"
    judge.write_text("#!/bin/sh\necho 'MemoryError: no room' >&2\nexit 1\n")
    judge.chmod(0o700)
    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(Watch().run(options(server.url, tmp_path)))
        await server.heard(8)
        monkeypatch.setattr(sys, "executable", str(judge))  # the workers are up
        with pytest.raises(JournalError, match=r"could not be judged \(MemoryError: no room\); `seatrial report`"):
            await running
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader).summary.outcomes["ok"] == 40
