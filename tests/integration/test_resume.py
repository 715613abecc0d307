"""A run that ended early is finished by `resume`: each request once, nothing counted twice, nothing hidden."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scripted_server import ScriptedServer, Turn
from test_load_pool import FINE
from test_trial import Watch, options

from scenarios.journal import JournalReader
from scenarios.rebuild import rebuild
from scenarios.runner import resume_trial
from scenarios.runs import journal_path


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
        document = await resume_trial(path, None, again._tick, again.events.append, again.stop)
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
