"""A journal whose disk is full, whose writer is killed, whose machine loses power; a run whose disk is full."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from held_faults import until

from scenarios.journal import JournalReader
from scenarios.runs import journal_path
from tests.benchmarks.faults_bench import journal
from tests.benchmarks.load_bench.crash import StampingServer

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """
name = "full"
about = "a run whose disk is full for a while"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = 50
duration = "3s"
[[gates]]
metric = "error_rate"
max = 0.5
"""


@pytest.mark.parametrize("attempt", [journal.full_disk, journal.killed, journal.power_cuts])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_committed_observation_is_there_afterwards(
    tmp_path: Path, attempt: Callable[[Path, int], list[str]], seed: int
) -> None:
    assert set(attempt(tmp_path, seed)) == {""}


@contextmanager
def run_under_way(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A run that has sent something; its process and its journal."""
    (folder / "full.toml").write_text(SCENARIO)
    with StampingServer() as server:
        options = ("--target", server.url, "--run-id", "r1", "--runs-dir", str(folder), "--preflight", "500ms")
        command = [sys.executable, "-m", "console", "run", str(folder / "full.toml"), "--plain", "--json", *options]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                assert server.heard.wait(60)
                yield process, journal_path(folder, "r1")
            finally:
                process.kill()


def fill(process: subprocess.Popen[bytes], path: Path) -> tuple[int, int]:
    """The runner can write no further; returns the limits that it had."""
    before = psutil.Process(process.pid).rlimit(resource.RLIMIT_FSIZE)
    size = min(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    return before


def event_kinds(path: Path) -> list[str]:
    with JournalReader(path) as reader:
        return [event.kind for _, event in reader.events()]


def test_a_run_goes_on_when_its_disk_has_room_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with run_under_way(tmp_path) as (process, path):
        before = fill(process, path)
        assert process.stderr is not None
        heard = b""
        while b"journal" not in (heard := process.stderr.readline()) or b"no more" not in heard:
            assert heard, "it ended without a word"
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
        said, talk = process.communicate(timeout=60)
    assert process.returncode in (0, 4), talk
    document = json.loads(said)
    assert document["run"]["state"] == "done"
    assert document["summary"]["planned"] == sum(document["summary"]["outcomes"].values()) == 150
    assert document["summary"]["outcomes"].get("unsent", 0) == 0
    kinds = event_kinds(path)
    assert kinds.index("journal.full") < kinds.index("journal.written")


def test_a_run_whose_disk_stays_full_ends_with_what_to_do_and_can_be_resumed(tmp_path: Path) -> None:
    with run_under_way(tmp_path) as (process, path):
        with JournalReader(path) as reader:
            until(lambda: reader.count("observation") > 20, "something is committed")
        fill(process, path)
        said, talk = process.communicate(timeout=60)
        with JournalReader(path) as reader:
            committed = reader.count("observation")
            assert reader.run().state == "running"
            assert reader.document() is None
        resume = [sys.executable, "-m", "console", "resume", "r1", "--runs-dir", str(tmp_path), "--json"]
        resumed = subprocess.run(resume, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert process.returncode == 2
    assert said == b""
    assert b"Traceback" not in talk
    last = talk.decode().strip().splitlines()[-1]
    assert str(path) in last
    assert "make room there, then `seatrial resume r1` goes on" in last
    assert resumed.returncode in (0, 4), resumed.stderr
    assert sum(json.loads(resumed.stdout)["summary"]["outcomes"].values()) == 150 > committed > 20
