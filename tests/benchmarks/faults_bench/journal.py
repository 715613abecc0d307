"""Target 4: every committed observation is readable after a full disk, a kill -9 and a power cut."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenarios.errors import JournalError
from scenarios.journal import JournalReader, JournalWriter
from tests.benchmarks.faults_bench.journal_writer import LAST, observation
from tests.benchmarks.faults_bench.power_cut import Frozen, after_power_cuts
from tests.benchmarks.load_bench.table import Row

TARGET = 4
TITLE = "the journal under full disks, kill -9 and power cuts"

_ROOT = Path(__file__).resolve().parents[3]
_FOREVER_S = "1e9"
_CUTS_AT_ONCE = 5


def measure(quick: bool) -> list[Row]:
    """100 of each; 10 where `quick`."""
    rounds = 10 if quick else 100
    rows = []
    for what, attempt in (
        ("full disks", full_disk), ("kills -9 of the writer", killed), ("power cuts", power_cuts),
    ):  # fmt: skip
        problems: list[str] = []
        tried = 0
        while tried < rounds:
            with tempfile.TemporaryDirectory() as folder:
                found = attempt(Path(folder), tried)
            tried += len(found)
            problems += filter(None, found)
        note = f"{tried - len(problems)} of {tried} good" + "".join(f"; {one}" for one in problems[:3])
        rows.append(Row(TARGET, f"{what} after which something was wrong, of {tried}", len(problems), "", 0, note=note))
    for synced, name in ((True, "a commit of 100 observations, synced"), (False, "the same, not synced")):
        rows.append(Row(TARGET, f"{name}, p50", commit_s(synced) * 1e3, "ms"))
    return rows


def full_disk(folder: Path, seed: int) -> list[str]:
    """The writer may write no further at a random moment; in every second case it may again, and loses nothing."""
    draw = random.Random(seed)
    path = folder / "run" / "journal.sqlite"
    again = bool(seed % 2)
    with _writer(path, seed, _FOREVER_S if again else "0") as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stderr is not None
        committed = _commits(writer, draw.randrange(1, 60))
        soft, hard = resource.prlimit(writer.pid, resource.RLIMIT_FSIZE)
        sizes = (path.stat().st_size, path.with_name(path.name + "-wal").stat().st_size)
        resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (min(sizes) + draw.randrange(100_000), hard))
        for line in writer.stdout:
            if line == b"full\n":
                break
            committed = int(line)
        if again:
            problem = _missing(path, committed)
            for _ in range(draw.randrange(3)):
                writer.stdin.write(b"\n")
                writer.stdin.flush()
                if writer.stdout.readline() != b"full\n":
                    problem = problem or "it wrote where there was no room"
            resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (soft, hard))
            writer.stdin.write(b"\n")
            writer.stdin.close()
            writer.stdout.read()
            if writer.wait() != 0:
                problem = problem or f"it did not go on: {writer.stderr.read()[-300:]!r}"
            return [problem or _missing(path, LAST)]
        said = writer.stderr.read().decode()
        code = writer.wait()
        if code != 2 or str(path) not in said or "make room" not in said or "Traceback" in said:
            return [f"exit {code} and {said[-300:]!r}"]
        return [_missing(path, committed)]


def killed(folder: Path, seed: int) -> list[str]:
    """The writer is killed at a random moment, in the middle of whatever it does."""
    draw = random.Random(seed)
    path = folder / "run" / "journal.sqlite"
    with _writer(path, seed, _FOREVER_S) as writer:
        assert writer.stdout is not None
        committed = _commits(writer, draw.randrange(1, 80))
        time.sleep(draw.uniform(0.0, 0.01))
        writer.kill()
        for line in writer.stdout:
            if line.endswith(b"\n"):
                committed = int(line)
    return [_missing(path, committed)]


def power_cuts(folder: Path, seed: int) -> list[str]:
    """Some cuts between two commits, at random in a journal's life: it holds the first, and all or nothing more."""
    draw = random.Random(seed)
    journal = JournalWriter(folder / "run" / "journal.sqlite")
    at = 0
    for _ in range(draw.randrange(60)):
        at = _more(journal, at, draw)
    before, least = Frozen.of(journal.path), at
    at = _more(journal, at, draw)
    after = Frozen.of(journal.path)
    found = []
    for number, state in enumerate(after_power_cuts(before, after, draw, _CUTS_AT_ONCE)):
        path = state.thaw(folder / str(number))
        found.append(_missing(path, least, at))
        shutil.rmtree(path.parent)
    journal.close()
    return found


def commit_s(synced: bool) -> float:
    """The median time of a commit, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalWriter(Path(folder, "run", "journal.sqlite"))
        journal._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        taken = []
        for number in range(200):
            journal.add_observations(observation(index) for index in range(number * 100, number * 100 + 100))
            start = time.perf_counter()
            journal.commit()
            taken.append(time.perf_counter() - start)
        journal.close()
    return sorted(taken)[len(taken) // 2]


def _writer(path: Path, seed: int, patience_s: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.benchmarks.faults_bench.journal_writer", str(path), str(seed), patience_s]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


def _commits(writer: subprocess.Popen[bytes], number: int) -> int:
    assert writer.stdout is not None
    return [int(writer.stdout.readline()) for _ in range(number)][-1]


def _more(journal: JournalWriter, at: int, draw: random.Random) -> int:
    rows = draw.randrange(1, 600)
    journal.add_observations(observation(index) for index in range(at, at + rows))
    journal.commit()
    return at + rows


def _missing(path: Path, committed: int, most: int | None = None) -> str:
    """What is wrong with a journal that must hold the first `committed`; with `most` it holds either or that many."""
    try:
        with JournalReader(path) as reader:
            damage = next(reader.blocks_of("PRAGMA integrity_check"))
            found = list(reader.observations())
    except JournalError as error:
        return str(error)
    if damage != [("ok",)]:
        return f"damaged: {damage}"
    if any(one != observation(index) for index, one in enumerate(found)):
        return "an observation is another one"
    if len(found) < committed or (most is not None and len(found) not in (committed, most)):
        return f"{len(found)} observations of {committed} committed"
    return ""
