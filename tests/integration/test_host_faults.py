"""Faults of the machine, brought about in small and undone: as ordered, at the runner's word and by its death."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from held_faults import order_of, subject_of, until

from scenarios.faults.clock_step import ClockStepInjector
from scenarios.faults.holder import HolderInjector
from scenarios.faults.holder.host import HOST_HOLDERS
from scenarios.faults.holder.memory_left import memory_left
from scenarios.faults.injector import FaultRefused
from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.kind import Via
from scenarios.wall_clock import WALL_CLOCK

MB = 1 << 20


@asynccontextmanager
async def held(kind: str, journal: Path = Path("journal.db"), **params: float) -> AsyncIterator[asyncio.Task[object]]:
    injector = await HolderInjector.start(dataclasses.replace(subject_of(dict), journal=journal))
    on = asyncio.Event()
    holding: asyncio.Task[object] = asyncio.create_task(injector.hold(order_of(kind, **params), on.set))
    waiting = asyncio.create_task(on.wait())
    try:
        await asyncio.wait((holding, waiting), return_when=asyncio.FIRST_COMPLETED)
        if holding.done():
            holding.result()
        yield holding
    finally:
        waiting.cancel()
        holding.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)
        await injector.close()


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def grow(path: Path) -> None:
    """Until it is no longer allowed."""
    with path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(700))


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_every_kind_of_the_machine_has_its_function_but_the_clock_and_pauses() -> None:
    held_kinds = {name for name, kind in KINDS.items() if kind.family == "host" and kind.via is Via.HOLDER}
    assert HOST_HOLDERS.keys() == held_kinds - {"host.pause"}
    assert KINDS["host.clock_step"].via is Via.RUNNER


async def test_a_cpu_hog_is_as_many_processes_as_were_asked_for_and_none_is_left() -> None:
    async with held("host.cpu", processes=2, load=0.5):
        hogs = [one for one in below(os.getpid()) if not one.children() and one.parent().parent().pid != os.getpid()]
        assert len(hogs) == 2
        await asyncio.to_thread(
            until, lambda: all(sum(hog.cpu_times()[:2]) > 0.1 for hog in hogs), "every hog has used processor time"
        )
    assert not any(hog.is_running() for hog in hogs)


async def test_a_cpu_hog_uses_no_more_than_its_share_of_a_core() -> None:
    injector = await HolderInjector.start(subject_of(dict))
    try:
        ended = await injector.hold(order_of("host.cpu", for_s=2.0, processes=1, load=0.25), lambda: None)
    finally:
        await injector.close()
    assert 0.02 < float(ended.facts["cpu_s"]) < 0.25 * 2.0 + 0.3
    assert ended.facts["processes"] == 1


async def test_memory_is_taken_touched_and_given_back() -> None:
    async with held("host.memory", leave=256 * MB, most=64 * MB):
        (holder,) = [
            one for one in below(os.getpid()) if one.memory_info().rss > 64 * MB and one.parent().pid != os.getpid()
        ]
        assert 64 * MB <= holder.memory_info().rss < 64 * MB + 80 * MB
        assert oom_score(holder.pid) == 1000
    assert not holder.is_running()


async def test_memory_that_is_not_there_is_not_taken() -> None:
    with pytest.raises(FaultRefused, match="are to be left; choose a smaller"):
        async with held("host.memory", leave=memory_left() + (1 << 40), most=64 * MB):
            raise AssertionError("it began")


async def test_the_journal_cannot_grow_while_the_disk_is_full_and_can_again_afterwards(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    journal.write_bytes(bytes(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with held("host.disk_full", journal, spare=1000):
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == (101_000, before[1])
        with pytest.raises(OSError, match="too large"):
            grow(journal)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    assert journal.stat().st_size == 101_000


async def test_without_a_journal_there_is_no_disk_to_fill(tmp_path: Path) -> None:
    with pytest.raises(FaultRefused, match="no journal there"):
        async with held("host.disk_full", tmp_path / "none", spare=1000):
            raise AssertionError("it began")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
@pytest.mark.parametrize("kind", ["host.gpu_memory", "host.gpu_clock"])
async def test_without_a_gpu_its_faults_are_refused_with_what_is_missing(kind: str) -> None:
    with pytest.raises(FaultRefused, match=r"no NVIDIA GPU.*doctor"):
        async with held(kind):
            raise AssertionError("it began")


@pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="no GPU here")
async def test_gpu_memory_is_taken_and_given_back() -> None:
    async with held("host.gpu_memory", leave=64 * MB, most=512 * MB) as holding:
        assert not holding.done()


async def test_the_wall_clock_jumps_and_jumps_back_also_when_it_is_cancelled() -> None:
    apart_s: list[float] = []
    injector = ClockStepInjector()
    order = order_of("host.clock_step", for_s=0.05, step=-3600.0)
    ended = await injector.hold(order, lambda: apart_s.append(WALL_CLOCK.now_s() - time.time()))
    assert apart_s == [pytest.approx(-3600.0, abs=1.0)]
    assert ended.facts == {"step_s": -3600.0}
    assert WALL_CLOCK.now_s() - time.time() == pytest.approx(0.0, abs=1.0)
    on = asyncio.Event()
    holding = asyncio.create_task(injector.hold(order_of("host.clock_step", step=60.0), on.set))
    await on.wait()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await injector.close()
    assert WALL_CLOCK.now_s() - time.time() == pytest.approx(0.0, abs=1.0)


RUNNER = """
import asyncio, dataclasses, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from held_faults import order_of, subject_of
from scenarios.faults.holder import HolderInjector

async def main():
    injector = await HolderInjector.start(dataclasses.replace(subject_of(dict), journal=Path({journal!r})))
    order = order_of({kind!r}, **{params!r})
    await injector.hold(order, lambda: print("on", flush=True))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("kind", "params"),
    [("host.cpu", {"processes": 3, "load": 0.2}), ("host.memory", {"most": 32 * MB}), ("host.disk_full", {})],
)
def test_nothing_is_left_two_seconds_after_the_runner_was_killed(
    tmp_path: Path, kind: str, params: dict[str, float]
) -> None:
    journal = tmp_path / "journal.sqlite"
    journal.write_bytes(bytes(10))
    here = Path(__file__).parent
    program = RUNNER.format(here=str(here), journal=str(journal), kind=kind, params=params)
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"on\n"
        started = below(runner.pid)
        assert len(started) >= 2
        runner.send_signal(signal.SIGKILL)
    until(lambda: not any(one.is_running() for one in started), "guardian, holder and hogs are gone")
