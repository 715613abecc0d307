"""A run in whose middle the wall clock jumps back an hour: it is seen, and no measured number moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from held_faults import order_of
from scripted_server import ScriptedServer
from test_trial import Watch, fine, options

from scenarios.faults.clock_step import ClockStepInjector
from scenarios.journal import JournalReader
from scenarios.runs import journal_path


async def test_a_jump_of_the_wall_clock_is_told_and_changes_no_number(tmp_path: Path) -> None:
    watch = Watch()
    stepped = asyncio.Event()
    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path)))
        while not running.done() and not any(tick.done > 5 for tick in watch.ticks):
            watch.shown.clear()
            await asyncio.wait((running, asyncio.ensure_future(watch.shown.wait())), return_when="FIRST_COMPLETED")
        await ClockStepInjector().hold(order_of("host.clock_step", for_s=0.6, step=-3600.0), stepped.set)
        document = await running
    assert stepped.is_set()
    assert document.run.state == "done"
    assert document.summary.outcomes["ok"] == 40
    assert document.summary.instrument["clock_step_s"] == pytest.approx(3600.0, abs=1.0)
    assert document.summary.window_s == pytest.approx(2.0, abs=1.0)
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        ticks = [tick.t_s for _, tick in reader.ticks()]
        times_ns = [(one.due_ns, one.sent_ns, one.first_ns, one.end_ns) for one in reader.observations()]
    assert ticks == sorted(ticks)
    assert all(sent is not None and 0 <= due <= sent <= end < 60e9 for due, sent, _, end in times_ns)
