"""Target 2: every fault is undone after kill -9 of the runner: none of its processes is left and what it touched is
as it was.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.config import DEMO_MODEL
from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.kind import FaultKind
from tests.benchmarks.load_bench.table import Row, not_run
from tests.integration.held_faults import Victim, taken, victim

TARGET = 2
TITLE = "faults undone after kill -9 of the runner"
WITHIN_S = 2.0
_PATIENCE_S = 20.0
_AT_ONCE = 4
_CLOCK_S = 60.0
_JOURNAL = "journal.db"
_SEEN = ("engine.stop", "engine.files", "engine.model_missing", "engine.model_truncated", "engine.model_swapped")
"""Kinds that leave a mark on the target or its files while they are in force, all the time."""
_ROOT = Path(__file__).resolve().parents[3]
_SMALL: dict[str, dict[str, float | str]] = {
    "host.cpu": {"processes": 1, "load": 0.2},
    "host.memory": {"most": 32 << 20},
    "host.gpu_memory": {"most": 256 << 20},
    "clients.herd": {"clients": 4},
    "clients.slowloris": {"clients": 4},
    "clients.huge_upload": {"clients": 1, "size": 1 << 20},
    "clients.abuser": {"rate": 5},
}
"""What would keep the machine from anything else a hundred times over."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one: undone after `seconds`, with `problem` where it was not; `refused` where it never began."""

    seconds: float = 0.0
    problem: str = ""
    refused: str = ""


def measure(quick: bool) -> list[Row]:
    """100 kills of each kind; 3 where `quick`."""
    rounds = 3 if quick else 100
    rows = []
    for kind in KINDS.values():
        rows.append(row(kind, rounds))
        print(f"  {rows[-1].what}: {rows[-1].shown} {rows[-1].verdict}", file=sys.stderr, flush=True)
    return rows


def row(kind: FaultKind, rounds: int) -> Row:
    what = f"{kind.name}: undone within {WITHIN_S:g} s, of {rounds}"
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        first = attempt(kind.name, ("runner",))
        if first.refused:
            return not_run(TARGET, what, first.refused)
        tried = [first, *pool.map(lambda _: attempt(kind.name, ("runner",)), range(rounds - 1))]
    good = [one for one in tried if not one.problem and one.seconds <= WITHIN_S]
    longest_s = max(one.seconds for one in tried)
    problems = "".join(f"; {one.problem}" for one in tried if one.problem)[:200]
    return Row(TARGET, what, len(good), "", rounds, at_least=True, note=f"at most {longest_s:.2f} s{problems}")


def attempt(kind: str, who: tuple[str, ...]) -> Attempt:
    """Bring the fault about in a runner of its own, kill -9 `who` (runner, guardian, holder), see it undone."""
    with tempfile.TemporaryDirectory() as folder, victim() as target:
        link = Path(folder) / "model.gguf"
        link.symlink_to(DEMO_MODEL)
        link.with_name(_JOURNAL).write_bytes(b"")
        limits = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
        clock_s = time.time() - time.monotonic()
        words = (kind, target.pid, target.port, link, json.dumps(_SMALL.get(kind, {})))
        runner = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.faults_bench.holding", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        try:
            assert runner.stdout is not None
            said = json.loads(runner.stdout.readline() or '"the runner ended"')
            if isinstance(said, str):
                return Attempt(refused=said)
            processes = list(_found(said))
            if kind in _SEEN and not left(target, link, limits, []):
                return Attempt(problem="nothing of it was to be seen")
            began_s = time.monotonic()
            for one, pids in (("holder", said[-1:]), ("guardian", said[:1]), ("runner", [runner.pid])):
                for pid in pids if one in who else ():
                    os.kill(pid, signal.SIGKILL)
            problem = "never looked"
            while problem and time.monotonic() - began_s < _PATIENCE_S:
                problem = left(target, link, limits, processes if "runner" in who else [])
                time.sleep(0.005)
            if abs(time.time() - time.monotonic() - clock_s) > _CLOCK_S:
                problem = problem or "the machine's clock was moved"
            return Attempt(time.monotonic() - began_s, problem)
        finally:
            runner.kill()
            runner.wait()
            assert runner.stdout is not None
            runner.stdout.close()


def _found(pids: list[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left(target: Victim, link: Path, limits: tuple[int, int], processes: list[psutil.Process]) -> str:
    """What is still there of a fault; empty where nothing is."""
    if running := [one.pid for one in processes if _runs(one)]:
        return f"processes {running} run"
    if not link.is_symlink() or link.readlink() != DEMO_MODEL:
        return "the model's link leads elsewhere"
    if others := [path.name for path in link.parent.iterdir() if path not in (link, link.with_name(_JOURNAL))]:
        return f"{others} are left"
    if target.state == "gone":
        return "the target's port is taken" if taken(target.port) else ""
    if target.state == psutil.STATUS_STOPPED:
        return "the target is stopped"
    if resource.prlimit(target.pid, resource.RLIMIT_NOFILE) != limits:
        return "the target's limit is low"
    return ""
