"""Following a journal: what is folded, and what the console says when there is nothing to follow."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.liveness import running
from console.tui.follow import Follower, newest_running
from console.tui.snapshot import BANDS, POINTS, Band, Phase, Point, extend, mark_active
from scenarios.journal import FILE_NAME, JournalWriter
from scenarios.tick import ActiveFault
from tests.snapshots.made_journals import CASES, Made, add, document, fill, run_info, tick, ticks, write


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_state_is_folded_from_ticks_events_and_findings(tmp_path: Path) -> None:
    snapshot = Follower(write(tmp_path, CASES["recovered"]())).read()
    assert snapshot.phase is Phase.RUNNING
    assert snapshot.tick is not None
    assert snapshot.tick.t_s == 131.0
    assert snapshot.bands == (Band("engine.kill", 100.0, 102.5),)
    assert [flag.t_s for flag in snapshot.flags] == [104.0, 94.0, 82.0, 64.0, 40.0]
    assert snapshot.events[-1].recovery_s == 2.1
    assert snapshot.gate_counts() == (3, 1, 3)


def test_a_read_without_news_gives_the_very_same_snapshot(tmp_path: Path) -> None:
    follower = Follower(write(tmp_path, CASES["mid-run"]()), monotonic=Clock())
    first = follower.read()
    assert follower.read() is first


def test_only_what_is_new_is_read_and_added(tmp_path: Path) -> None:
    path = tmp_path / "run-1" / FILE_NAME
    writer = JournalWriter(path)
    fill(writer, Made(ticks=ticks(10)))
    follower = Follower(path)
    before = follower.read()
    add(writer, [tick(10.25)])
    writer.commit()
    after = follower.read()
    assert len(after.points) == len(before.points) + 1
    assert after.events is before.events
    writer.close()


def test_history_is_bounded_and_keeps_the_peaks() -> None:
    points: list[Point] = []
    extend(points, (tick(i / 4, due_rate=99.0 if i == 5 else 1.0) for i in range(20_000)))
    assert len(points) < POINTS
    assert max(point.due_rate for point in points) == 99.0
    assert [p.t_s for p in points] == sorted(p.t_s for p in points)


def test_bands_are_bounded() -> None:
    bands: dict[int, Band] = {}
    for start in range(3 * BANDS):
        mark_active(bands, [ActiveFault(kind="engine.kill", since_s=float(start), number=start)], start + 0.2)
    assert len(bands) == BANDS


def test_a_run_whose_runner_is_gone_is_told_from_a_quiet_one(tmp_path: Path) -> None:
    clock, there = Clock(), [True]
    path = write(tmp_path, Made(ticks=ticks(20), pid=4_000_000))
    follower = Follower(path, monotonic=clock, alive=lambda *_: there[0])
    assert follower.read().phase is Phase.RUNNING
    clock.now += 2.9
    assert follower.read().quiet_s == 0
    clock.now += 2.0
    assert (follower.read().phase, follower.read().quiet_s) == (Phase.RUNNING, 4)
    there[0] = False
    assert follower.read().phase is Phase.GONE


@pytest.mark.parametrize("state", ["interrupted", "aborted"])
def test_a_stopped_run_is_stopping_until_its_runner_has_ended(tmp_path: Path, state: str) -> None:
    clock = Clock()
    path = write(tmp_path, Made(ticks=ticks(20), run=run_info(state), pid=4_000_000))
    follower = Follower(path, monotonic=clock, alive=lambda *_: False)
    assert follower.read().phase is Phase.STOPPING
    clock.now += 4
    assert follower.read().phase is Phase.INTERRUPTED


def test_a_failed_run_says_so_at_once(tmp_path: Path) -> None:
    assert Follower(write(tmp_path, Made(run=run_info("failed")))).read().phase is Phase.FAILED


def test_a_launched_run_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "run-1" / FILE_NAME
    follower = Follower(path, patience_s=20.0, monotonic=clock)
    assert follower.read().phase is Phase.OPENING
    clock.now += 21
    snapshot = follower.read()
    assert snapshot.phase is Phase.UNREADABLE
    assert "no journal there" in snapshot.problem
    assert follower.read() is snapshot
    write(tmp_path, Made(ticks=ticks(1), run=run_info(run_id="run-1")))
    assert follower.read().phase is Phase.RUNNING


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00" + b"\xff" * 4096, b"not a journal"])
def test_a_damaged_journal_is_a_message_and_no_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run-1" / FILE_NAME
    path.parent.mkdir()
    path.write_bytes(content)
    snapshot = Follower(path).read()
    assert snapshot.phase is Phase.UNREADABLE
    assert snapshot.problem


def test_a_run_that_has_not_said_what_it_is_yet_is_preparing(tmp_path: Path) -> None:
    assert Follower(write(tmp_path, Made(run=None, events=(), findings=()))).read().phase is Phase.PREPARING


def test_the_verdict_ends_it(tmp_path: Path) -> None:
    snapshot = Follower(write(tmp_path, CASES["verdict"]())).read()
    assert snapshot.phase is Phase.DONE
    assert snapshot.document == document()
    assert snapshot.gate_counts() == (4, 1, 1)


def test_only_a_run_whose_runner_is_at_work_is_attached_to(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    write(tmp_path, Made(ticks=ticks(1), run=run_info(run_id="3"), pid=child.pid))
    write(tmp_path, Made(ticks=ticks(1), run=run_info("done", run_id="2"), pid=os.getpid()))
    assert newest_running(tmp_path) is None
    alive = write(tmp_path, Made(ticks=ticks(1), run=run_info(run_id="1"), pid=os.getpid()))
    assert newest_running(tmp_path) == alive


def test_a_zombie_is_not_at_work() -> None:
    child = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not running(child.pid)
    finally:
        child.wait()
    assert running(os.getpid())
