"""The journal where the disk takes no more, its writer is killed, or the power goes: what was committed can be read."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_report_samples import RUN_ID, make_observation

from scenarios.errors import JournalFull
from scenarios.journal import JournalReader, JournalWriter
from tests.benchmarks.faults_bench.power_cut import Frozen, after_power_cuts

TESTS = str(Path(__file__).parent)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def committed(path: Path) -> list[int]:
    with JournalReader(path) as reader:
        assert reader.blocks_of("PRAGMA integrity_check").__next__() == [("ok",)]
        return [one.index for one in reader.observations()]


def test_rows_that_did_not_fit_are_written_once_there_is_room_again(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    writer.add_observations(make_observation(i) for i in range(10))
    writer.commit()
    at = 10
    with files_end_at(os.path.getsize(f"{writer.path}-wal") + (64 << 10)):
        while not writer.waits:
            writer.add_observations(make_observation(i) for i in range(at, at + 50))
            before, at = at, at + 50
            writer.commit_or_wait()
        assert committed(writer.path) == list(range(before))
        writer.add_observations(make_observation(i) for i in range(at, at + 50))
        writer.commit_or_wait()
        assert committed(writer.path) == list(range(before))
        assert writer.take_commands(0) == []
    writer.commit_or_wait()
    assert not writer.waits
    assert committed(writer.path) == list(range(at + 50))
    writer.close()
    assert committed(writer.path) == list(range(at + 50))


def test_a_disk_that_stays_full_is_a_clear_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    monkeypatch.setattr("scenarios.journal.writer.PATIENCE_S", 0.0)
    writer.add_observations(make_observation(i) for i in range(500))
    with files_end_at(4096):
        with pytest.raises(JournalFull, match=f"{writer.path}: the disk takes no more.*make room.*resume {RUN_ID}"):
            writer.commit_or_wait()
        with pytest.raises(JournalFull, match="make room"):
            writer.close()
    assert committed(writer.path) == []


@pytest.mark.parametrize("room", [0, 5_000, 30_000])
def test_a_journal_for_which_there_is_no_room_leaves_nothing_behind(tmp_path: Path, room: int) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from scenarios.journal import JournalWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "JournalWriter(Path(sys.argv[1], 'run', 'journal.sqlite'))\n"
    )
    command = (sys.executable, "-c", script, str(tmp_path), str(room))
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert "cannot make a journal there" in done.stderr
    assert "choose another --runs-dir" in done.stderr
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_system_without_room_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system of their own (unshare -rm)")
    program = f"""
import sys; sys.path.insert(0, {TESTS!r})
import subprocess
from pathlib import Path
from test_journal_full_disk import committed
from test_report_samples import RUN_ID, make_observation
from scenarios.journal import JournalWriter
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", {str(tmp_path)!r}], check=True)
filler = Path({str(tmp_path)!r}, "filler")
filler.write_bytes(bytes(200_000))
writer = JournalWriter(Path({str(tmp_path)!r}, RUN_ID, "journal.sqlite"))
at = 0
while not writer.waits:
    writer.add_observations(make_observation(i) for i in range(at, at + 50))
    before, at = at, at + 50
    writer.commit_or_wait()
assert committed(writer.path) == list(range(before)), "while it is full"
filler.unlink()
writer.commit_or_wait()
assert not writer.waits
writer.close()
assert committed(writer.path) == list(range(at)), "with room again"
print(before)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(TESTS).parents[1])}
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


@pytest.mark.parametrize("seed", range(3))
def test_after_a_power_cut_all_that_was_committed_is_there_and_no_half_of_a_commit(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    before, at = Frozen.of(writer.path), 0
    for number in range(30):  # 150 KB each: the log is written back into the file several times
        rows = draw.randrange(1, 1200)
        writer.add_observations(make_observation(i) for i in range(at, at + rows))
        writer.commit()
        after = Frozen.of(writer.path)
        for cut, state in enumerate(after_power_cuts(before, after, draw, 3)):
            path = state.thaw(tmp_path / f"{number}-{cut}")
            assert len(committed(path)) in (at, at + rows)
            shutil.rmtree(path.parent)
        before, at = after, at + rows
    writer.close()


def test_a_commit_is_synced_before_it_returns(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    full = 2
    assert writer._db.execute("PRAGMA synchronous").fetchone() == (full,)
    writer.close()
