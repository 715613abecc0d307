"""A run that ended early is finished by `resume`: each request once, nothing counted twice, nothing hidden."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import zlib
from pathlib import Path

import msgspec
import pytest
from scripted_server import ScriptedServer, Turn, answer
from test_load_pool import FINE
from test_trial import Watch, options

from scenarios.definition import REDACTED, Chaos, GateSpec, Scenario
from scenarios.errors import NotResumable, TargetError
from scenarios.journal import JournalReader
from scenarios.plan import make_plan
from scenarios.rebuild import SCENARIO, rebuild
from scenarios.result import Verdict
from scenarios.runner import RunOptions, read_interrupted, resume_trial, run_trial
from scenarios.runs import journal_path
from scenarios.tick import Event, Tick


async def fine(turn: Turn) -> bool:
    await turn.say(FINE)
    return True


async def test_a_stopped_run_is_finished_and_its_clock_stood_still_in_between(tmp_path: Path) -> None:
    watch, again = Watch(), Watch()
    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path, duration_s=4.0)))
        await server.heard(10)
        watch.stop.set()
        stopped = await running
        path = journal_path(tmp_path, "r1")
        assert stopped.run.state == "interrupted"
        unsent = stopped.summary.outcomes["unsent"]
        assert unsent > 20
        document = await resume_trial(path, None, again.tick, again.events.append, again.stop)
    assert document.run.state == "done"
    assert document.summary.planned == sum(document.summary.outcomes.values()) == 80
    assert document.summary.outcomes["ok"] >= 75
    (gap,) = document.run.resumed
    assert gap.left == unsent
    assert document.summary.window_s < 6.0
    assert "run.resumed" in again.kinds
    assert again.ticks[-1].done == again.ticks[-1].planned == 80
    with JournalReader(path) as reader:
        assert rebuild(reader) == document
        observations = list(reader.observations())
        assert [one.due_ns for one in observations] == [request.due_ns for request in reader.plan()]


async def stopped_early(url: str, runs: Path, trial: RunOptions) -> Path:
    """The journal of a run that was stopped after about ten requests."""
    watch = Watch()

    def tick(tick: Tick) -> None:
        if tick.done >= 10:
            watch.stop.set()

    await run_trial(trial, tick, watch.events.append, watch.stop)
    return journal_path(runs, "r1")


async def test_a_redacted_run_says_nothing_and_is_finished_from_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATRIAL_API_KEY", "sk-never-written-down")
    async with ScriptedServer(fine) as server:
        trial = options(server.url, tmp_path, duration_s=3.0)
        scenario = dataclasses.replace(trial.scenario, keep=REDACTED)
        trial = dataclasses.replace(trial, scenario=scenario, api_key_env="SEATRIAL_API_KEY")
        path = await stopped_early(server.url, tmp_path, trial)
        again = Watch()
        document = await resume_trial(path, "SEATRIAL_API_KEY", again.tick, again.events.append, again.stop)
    assert document.summary.outcomes["ok"] + document.summary.outcomes["cancelled"] == 60
    plan = make_plan(scenario, trial.seed, "scripted")
    with JournalReader(path) as reader:
        assert rebuild(reader) == document
    texts = said_in(path)
    assert b"sk-never-written-down" not in texts
    assert not any(request.prompt_text.encode() in texts for request in plan)


async def test_a_key_is_never_in_the_journal_even_where_the_server_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATRIAL_API_KEY", "sk-never-written-down")
    heard: list[str | None] = []

    async def repeats(turn: Turn) -> bool:
        heard.append(turn.header("authorization"))
        await turn.say(
            answer("401 Unauthorized" if turn.path == "/v1/chat/completions" else "200 OK", str(heard[-1]).encode())
        )
        return True

    async with ScriptedServer(repeats) as server:
        trial = dataclasses.replace(options(server.url, tmp_path), api_key_env="SEATRIAL_API_KEY")
        await Watch().run(trial)
    assert "Bearer sk-never-written-down" in heard
    assert b"sk-never-written-down" not in said_in(journal_path(tmp_path, "r1"))


def said_in(path: Path) -> bytes:
    """Everything in the files of a run, with what is compressed unpacked."""
    with JournalReader(path) as reader:
        blocks = [zlib.decompress(body) for rows in reader.blocks_of("SELECT body FROM block") for (body,) in rows]
    return b"".join([*blocks, *(file.read_bytes() for file in path.parent.iterdir())])


def dump(path: Path) -> list[str]:
    """Every row of a journal."""
    with sqlite3.connect(path) as db:
        return list(db.iterdump())


async def test_a_target_that_is_down_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        path = await stopped_early(server.url, tmp_path, options(server.url, tmp_path, duration_s=3.0))
    watch, before = Watch(), dump(path)
    with pytest.raises(TargetError):
        await resume_trial(path, None, watch.tick, watch.events.append, watch.stop)
    assert dump(path) == before


async def test_a_resume_that_is_stopped_in_its_preflight_loses_nothing(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        path = await stopped_early(server.url, tmp_path, options(server.url, tmp_path, duration_s=3.0))
        again, last = Watch(), Watch()

        def heard(event: Event) -> None:
            if event.kind == "phase.preflight":
                again.stop.set()

        stopped = await resume_trial(path, None, again.tick, heard, again.stop)
        document = await resume_trial(path, None, last.tick, last.events.append, last.stop)
    assert stopped.run.state == "interrupted"
    assert document.run.resumed[1].left == document.run.resumed[0].left == stopped.summary.outcomes["unsent"]
    assert document.run.resumed[1].lost == 0
    assert document.summary.planned == sum(document.summary.outcomes.values()) == 60


async def test_a_run_that_its_gates_had_ended_is_only_judged(tmp_path: Path) -> None:
    gate = GateSpec("ok_rate", minimum=0.5, sequential=True)
    watch, again = Watch(), Watch()

    def heard(event: Event) -> None:
        if event.kind == "gates.decided":
            watch.stop.set()

    async with ScriptedServer(fine) as server:
        trial = options(server.url, tmp_path, duration_s=30.0, gates=(gate,))
        stopped = await run_trial(trial, watch.tick, heard, watch.stop)
        document = await resume_trial(journal_path(tmp_path, "r1"), None, again.tick, again.events.append, again.stop)
    assert (stopped.run.state, document.run.state) == ("interrupted", "done")
    assert document.verdict is Verdict.GO
    assert document.summary.outcomes["unsent"] > 300
    assert "phase.run" not in again.kinds


async def test_a_redacted_run_whose_plan_can_no_longer_be_made_is_not_resumed(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        trial = options(server.url, tmp_path, duration_s=3.0)
        trial = dataclasses.replace(trial, scenario=dataclasses.replace(trial.scenario, keep=REDACTED))
        path = await stopped_early(server.url, tmp_path, trial)
        with JournalReader(path) as reader:
            info = msgspec.structs.replace(reader.run(), plan_hash="0" * 64)
        with sqlite3.connect(path) as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'run'", (msgspec.json.encode(info).decode(),))
        watch, before = Watch(), dump(path)
        with pytest.raises(NotResumable, match="no longer make the plan"):
            await resume_trial(path, None, watch.tick, watch.events.append, watch.stop)
    assert dump(path) == before


async def test_a_target_that_serves_another_model_now_is_refused_and_the_run_can_still_be_resumed(
    tmp_path: Path,
) -> None:
    async with ScriptedServer(fine) as server:
        path = await stopped_early(server.url, tmp_path, options(server.url, tmp_path, duration_s=3.0))
        with JournalReader(path) as reader:
            info = reader.run()
        other = msgspec.structs.replace(info, model="another")
        with sqlite3.connect(path) as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'run'", (msgspec.json.encode(other).decode(),))
        watch, before = Watch(), dump(path)
        for _ in range(2):
            with pytest.raises(NotResumable, match="the run was against 'another'"):
                await resume_trial(path, None, watch.tick, watch.events.append, watch.stop)
        assert dump(path) == before
        with sqlite3.connect(path) as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'run'", (msgspec.json.encode(info).decode(),))
        document = await resume_trial(path, None, watch.tick, watch.events.append, watch.stop)
    assert document.summary.planned == sum(document.summary.outcomes.values()) == 60
    assert len(document.run.resumed) == 1


async def test_a_complete_run_is_not_resumed(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        await Watch().run(options(server.url, tmp_path))
    with pytest.raises(NotResumable, match="is complete"):
        read_interrupted(journal_path(tmp_path, "r1"))


async def test_a_chaos_search_is_not_resumed(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        path = await stopped_early(server.url, tmp_path, options(server.url, tmp_path, duration_s=4.0))
    with JournalReader(path) as reader:
        scenario = msgspec.json.decode(reader.meta(SCENARIO) or "", type=Scenario)
    searched = msgspec.json.encode(dataclasses.replace(scenario, chaos=Chaos())).decode()
    with sqlite3.connect(path) as journal:
        journal.execute("UPDATE meta SET value = ? WHERE key = ?", (searched, SCENARIO))
    journal.close()
    with pytest.raises(NotResumable, match="was a search"):
        read_interrupted(path)


async def test_a_run_that_failed_before_its_plan_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        await Watch().run(options("http://127.0.0.1:9", tmp_path))
    with pytest.raises(NotResumable, match="nothing was sent"):
        read_interrupted(journal_path(tmp_path, "r1"))


async def test_a_run_that_was_stopped_twice_and_resumed_twice_counts_each_request_once(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        path = await stopped_early(server.url, tmp_path, options(server.url, tmp_path, duration_s=4.0))
        watch, last = Watch(), Watch()

        def tick(tick: Tick) -> None:
            if tick.done >= 40 and tick.state == "running":
                watch.stop.set()

        again = await resume_trial(path, None, tick, watch.events.append, watch.stop)
        assert again.run.state == "interrupted"
        document = await resume_trial(path, None, last.tick, last.events.append, last.stop)
    assert len(document.run.resumed) == 2
    assert document.summary.planned == sum(document.summary.outcomes.values()) == 80
    lost = document.summary.outcomes["cancelled"]
    assert document.verdict is (Verdict.GO if lost == 0 else Verdict.INVALID)
