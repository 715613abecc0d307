"""The noise floor is measured with real processes, touches nobody, and leaves nobody behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from scripted_server import ScriptedServer
from test_load_pool import ROOT
from test_trial import Watch, fine, options

from scenarios.definition import GateSpec
from scenarios.errors import HarnessError
from scenarios.journal import JournalReader
from scenarios.rebuild import rebuild
from scenarios.result import Verdict
from scenarios.runner import preflight as preflight_module
from scenarios.runner.preflight import Load, load_for, preflight
from scenarios.runs import journal_path
from scenarios.tick import Tick

SHORT = Load(streams=16, stream_s=0.125, duration_s=0.5)


def children() -> list[str]:
    return [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]


async def test_it_measures_stamps_and_sends_and_ends_its_processes() -> None:
    shown: list[float] = []
    floor = await preflight(SHORT, 2, shown.append)
    assert floor.events > 100
    assert 0.0 < floor.stamp_p50_s <= floor.stamp_p99_s < 1.0  # a client never reads before the server wrote
    assert 0.0 <= floor.send_p50_s <= floor.send_p99_s < 1.0
    assert 0.0 < floor.timer_p50_s <= floor.timer_p99_s < 1.0
    assert shown
    assert shown == sorted(shown)
    assert 0.0 <= shown[0] <= shown[-1] <= 1.0
    assert children() == []


async def test_it_can_be_cancelled_at_any_time_and_leaves_no_process() -> None:
    for delay_s in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4):
        measuring = asyncio.create_task(preflight(SHORT, 1, lambda _: None))
        await asyncio.sleep(delay_s)
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring
        assert children() == []


async def test_a_paced_server_that_dies_is_an_error_that_says_so() -> None:
    def kill(_: float) -> None:
        for child in psutil.Process().children():
            if "scenarios.load.pacer" in child.cmdline():
                child.kill()

    with pytest.raises(HarnessError, match="its own server gave"):
        await preflight(SHORT, 1, kill)
    assert children() == []


async def test_a_worker_that_dies_in_it_is_an_error_that_says_so() -> None:
    def kill(_: float) -> None:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it may be dead already and only wait to be buried
                if "scenarios.load.worker" in child.cmdline():
                    child.kill()

    with pytest.raises(HarnessError, match="the preflight failed: load worker 0 died"):
        await preflight(SHORT, 1, kill)
    assert children() == []


async def test_a_machine_that_cannot_do_it_in_time_is_told_to_end_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "_PATIENCE_S", -0.3)
    with pytest.raises(HarnessError, match="too busy"):
        await preflight(SHORT, 1, lambda _: None)
    assert children() == []


def test_the_paced_server_ends_when_whoever_started_it_was_killed() -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {ROOT!r})
from scenarios.runner.preflight import Load, preflight
asyncio.run(preflight(Load(16, 1.0, 60.0), 1, lambda _: print("going", flush=True)))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "going\n"
        helpers = psutil.Process(parent.pid).children(recursive=True)
        assert len(helpers) == 2
        os.kill(parent.pid, signal.SIGKILL)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    gone, alive = psutil.wait_procs(helpers, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_the_load_of_a_preflight_is_the_busiest_second_of_the_plan_within_limits() -> None:
    def every(second: float, seconds: int = 20) -> np.ndarray:
        return np.arange(0, seconds * 10**9, int(second * 1e9), dtype=np.int64)

    assert load_for(every(0.25), 5.0) == Load(16, 1.0, 5.0)
    assert load_for(every(0.01), 5.0) == Load(100, 1.0, 5.0)
    assert load_for(np.sort(np.concatenate([every(0.25), every(0.005, seconds=1)])), 5.0) == Load(204, 1.0, 5.0)
    assert load_for(every(0.0001, seconds=2), 5.0) == Load(256, 1.0, 5.0)
    assert load_for(every(0.01), 0.5) == Load(16, 0.125, 0.5)


# ---- in a run


async def test_a_run_shows_its_preflight_and_prints_the_noise_floor(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path))
        paths = {turn.path for turn in server.turns}
    assert paths == {"/v1/models", "/v1/chat/completions"}
    assert len(server.turns) == 1 + 40  # the target saw its own requests and no others
    during = [tick for tick in watch.ticks if tick.state == "preflight"]
    assert during
    assert all(tick.t_s < 0 for tick in during)
    assert any(tick.instrument.preflight is not None for tick in during)
    assert watch.kinds.count("phase.preflight") == 2
    assert "noise floor p50" in [event.text for event in watch.events if event.kind == "phase.preflight"][-1]
    facts = document.summary.instrument
    for name in ("noise_floor_p50_s", "noise_floor_p99_s", "noise_send_p99_s", "timer_p99_s", "stamp_lag_p99_s"):
        assert isinstance(facts[name], float), name
    assert facts["preflight"] == str(SHORT)


async def test_a_stop_ends_the_preflight_too(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        trial = dataclasses.replace(options(server.url, tmp_path), preflight_s=60.0)
        running = asyncio.create_task(watch.run(trial))
        while "phase.preflight" not in watch.kinds:
            await watch.shown.wait()
            watch.shown.clear()
        begun = time.monotonic()
        watch.stop.set()
        document = await running
    assert time.monotonic() - begun < 50.0
    assert document.run.state == "interrupted"
    assert document.summary.instrument["noise_floor_p99_s"] is None
    assert children() == []


async def test_a_worker_that_was_stopped_for_a_third_of_the_run_makes_it_invalid(tmp_path: Path) -> None:
    watch = Watch()
    gates = (GateSpec("ttft_s.p95", maximum=5.0),)  # far from anything: the run as a whole is not to be trusted

    async with ScriptedServer(fine) as server:
        running = asyncio.create_task(watch.run(options(server.url, tmp_path, gates=gates)))
        await server.heard(5)
        (worker,) = (one for one in psutil.Process().children() if "scenarios.load.worker" in one.cmdline())
        worker.suspend()
        await asyncio.sleep(0.8)
        worker.resume()
        document = await running
    assert document.verdict is Verdict.INVALID
    assert "not keeping up" in document.why
    facts = document.summary.instrument
    assert float(facts["stall_max_s"] or 0) >= 0.7
    assert float(facts["stalled_share"] or 0) > 0.1
    assert document.summary.outcomes["ok"] == 40
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader) == document


async def test_a_runner_that_stands_still_is_seen_and_costs_nothing(tmp_path: Path) -> None:
    class Slow(Watch):
        def tick(self, tick: Tick) -> None:
            super().tick(tick)
            if tick.state == "running":
                time.sleep(0.9)

    async with ScriptedServer(fine) as server:
        document = await Slow().run(options(server.url, tmp_path))
    assert float(document.summary.instrument["runner_stall_s"] or 0) >= 0.4
    assert document.summary.outcomes["ok"] == 40
