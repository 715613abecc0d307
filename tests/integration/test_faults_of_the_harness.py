"""Runs whose own wall clock jumps and whose own disk is full for a while: that is told, and costs no number."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from scripted_server import ScriptedServer
from test_trial import Watch, fine, options

from scenarios.definition import FaultSpec
from scenarios.journal import JournalReader
from scenarios.runs import journal_path

STEP = FaultSpec("host.clock_step", 0.4, for_s=0.8, params=(("step", -3600.0),))
FULL = FaultSpec("host.disk_full", 0.2, for_s=1.0, params=(("spare", 0.0),))


async def test_a_jump_of_the_wall_clock_is_told_and_changes_no_number(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, faults=(STEP,)))
    assert [event.fault.undone for event in watch.events if event.kind == "fault.end" and event.fault] == [True]
    assert document.run.state == "done"
    assert document.summary.outcomes["ok"] == 40
    assert document.summary.instrument["clock_step_s"] == pytest.approx(3600.0, abs=1.0)
    assert document.summary.window_s == pytest.approx(2.0, abs=1.0)
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        ticks = [tick.t_s for _, tick in reader.ticks()]
        times_ns = [(one.due_ns, one.sent_ns, one.end_ns) for one in reader.observations()]
    assert ticks == sorted(ticks)
    assert all(sent is not None and 0 <= due <= sent <= end < 60e9 for due, sent, end in times_ns)


async def test_a_disk_that_is_full_for_a_second_costs_no_observation(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, duration_s=3.0, faults=(FULL,)))
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    kinds = [event.kind for event in watch.events]
    assert kinds.index("fault.start") < kinds.index("journal.full") < kinds.index("journal.written")
    assert document.run.state == "done"
    assert document.summary.outcomes["ok"] == document.summary.planned == 60
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert [one.index for one in reader.observations()] == list(range(60))
