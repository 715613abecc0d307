"""Runs with real faults in force that end well, are stopped, or whose runner is killed -9: nothing is left of them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from scripted_server import ScriptedServer
from test_trial import Watch, fine, options

from scenarios.definition import FaultSpec
from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.runner import run_trial
from scenarios.runs import journal_path
from scenarios.tick import Event

SLOW = FaultSpec("network.latency", 0.1, for_s=0.5, params=(("delay", 0.05), ("jitter", 0.0), ("direction", "both")))
HOG = FaultSpec("host.cpu", 0.1, for_s=60.0, params=(("processes", 1.0), ("load", 0.1)))
PATIENCE_S = 120.0
GONE_S = 10.0  # the target is 2 s on a quiet machine; tests/benchmarks/faults.py measures it
SCENARIO = """
name = "disturbed"
about = "to be killed"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = 4.0
duration = "300s"
[[faults]]
kind = "network.latency"
at = "100ms"
for = "200s"
delay = "100ms"
[[faults]]
kind = "engine.stop"
at = "100ms"
for = "200s"
[[faults]]
kind = "host.cpu"
at = "100ms"
for = "200s"
processes = 1
load = 0.1
"""


async def test_real_faults_of_the_way_and_of_the_machine_are_felt_and_undone(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, faults=(SLOW, HOG)))
    ends = {event.fault.kind: event for event in watch.events if event.kind == "fault.end" and event.fault}
    assert {kind: end.fault.undone for kind, end in ends.items() if end.fault} == {
        "network.latency": True, "host.cpu": True,
    }  # fmt: skip
    assert ends["host.cpu"].text == "host.cpu: the run was over"
    assert document.summary.outcomes["ok"] == 40
    assert max(document.summary.ttft_s.max or 0.0, 0.1) > 0.1  # twice 50 ms
    assert psutil.Process().children(recursive=True) == []


async def test_a_stop_with_real_faults_in_force_leaves_no_process(tmp_path: Path) -> None:
    watch = Watch()
    on: set[int] = set()

    def hear(event: Event) -> None:
        watch.events.append(event)
        if event.kind == "fault.start" and event.fault:
            on.add(event.fault.number)
            if len(on) == 2:
                watch.stop.set()

    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, faults=(SLOW, HOG))
        await run_trial(chosen, watch.tick, hear, watch.stop)
    assert sum(event.kind == "fault.end" for event in watch.events) == 2
    assert psutil.Process().children(recursive=True) == []


@contextlib.contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    scenario = folder / "disturbed.toml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    command = (sys.executable, "-m", "console", "run", str(scenario), "--plain", "--run-id", "r1")
    process = subprocess.Popen(
        (*command, "--runs-dir", str(folder), "--preflight", "500ms"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[bytes], folder: Path, kind: str, count: int) -> None:
    """Wait until the journal tells of so many events of that kind."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with contextlib.suppress(JournalError), JournalReader(journal_path(folder, "r1")) as reader:
            if sum(event.kind == kind for _, event in reader.events()) >= count:
                return
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"no {count} {kind}: {process.communicate()[1][-500:]!r}")


@pytest.mark.parametrize(
    ("kind", "count"), [("phase.prepare", 1), ("phase.preflight", 1), ("proxy.ready", 1), ("fault.start", 3)]
)
def test_a_runner_that_is_killed_leaves_no_process_whatever_it_was_doing(tmp_path: Path, kind: str, count: int) -> None:
    with running(tmp_path) as process:
        until(process, tmp_path, kind, count)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, left = psutil.wait_procs(children, timeout=GONE_S)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
