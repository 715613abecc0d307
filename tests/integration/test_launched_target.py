"""A server that is started for a run, and one whose process is named: found, started again, ended with the run."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from held_faults import until, victim

from engine.supervisor import EngineEvent
from scenarios.address import read_address
from scenarios.errors import TargetError
from scenarios.runner.options import RunOptions
from scenarios.runner.target import LaunchedTarget
from scenarios.runner.target.given import GivenProcess
from scenarios.scenario_file import find_scenario
from tests.planted.scenario import launch, write_scenario

SERVER = shlex.join([sys.executable, str(Path(__file__).with_name("launchable.py"))])
ROOT = str(Path(__file__).resolve().parents[2])
Events = list[EngineEvent]


def options_of(folder: Path, command: str, timeout_s: float = 60.0) -> RunOptions:
    plain = RunOptions(find_scenario("peak-traffic"), 1, folder, "run")
    return replace(plain, launch=command, launch_timeout_s=timeout_s)


@asynccontextmanager
async def launched(folder: Path, command: str = SERVER + " {port}") -> AsyncIterator[tuple[LaunchedTarget, Events]]:
    events: Events = []
    target = LaunchedTarget(options_of(folder, command), events.append)
    await target.start()
    try:
        yield target, events
    finally:
        await target.stop()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_it_serves_under_its_own_name_and_is_gone_with_the_run(tmp_path: Path) -> None:
    async with launched(tmp_path) as (target, events):
        pid = target.processes()["server"]
        assert target.model == target.wire_model == f"model of {pid}"
        assert os.getpgid(pid) == pid
        assert (await target.sample()).state == "ready"
        assert target.base_url.startswith("http://127.0.0.1:")
    assert [event.kind for event in events] == ["starting", "ready", "stopped"]
    assert gone(pid)
    assert target.processes() == {}
    assert (tmp_path / "run" / "target.log").read_text() == "it is loading\n"


async def test_it_is_started_again_on_the_same_port_when_it_dies(tmp_path: Path) -> None:
    async with launched(tmp_path) as (target, events):
        url = target.base_url
        for deaths in range(3):
            first = target.processes()["server"]
            os.kill(first, signal.SIGKILL)
            await asyncio.wait_for(target.serving_again(deaths), 60)
            assert target.processes()["server"] != first
            assert target.base_url == url
        kinds = [event.kind for event in events]
        assert kinds == ["starting", "ready", *(["died", "restarting", "recovered"] * 3)]
        pauses = [event.detail for event in events if event.kind == "restarting"]
        assert pauses == ["after 0 s", "after 0.1 s", "after 0.2 s"]
        assert (await target.sample()).restarts == 3


async def test_a_target_that_hangs_is_started_anew_when_that_is_asked_for(tmp_path: Path) -> None:
    async with launched(tmp_path) as (target, _):
        first = target.processes()["server"]
        os.kill(first, signal.SIGSTOP)
        await target.restore()
        assert gone(first)
        assert not gone(target.processes()["server"])


async def test_what_it_has_started_ends_with_it_also_out_of_its_group(tmp_path: Path) -> None:
    async with launched(tmp_path, SERVER + " {port} 0 child") as (target, _):
        parts = target.processes()
        assert set(parts) == {"server", "child-1"}
        os.kill(parts["server"], signal.SIGKILL)
        await asyncio.wait_for(target.serving_again(0), 60)
        assert gone(parts["child-1"])
        again = target.processes()
    await asyncio.to_thread(until, lambda: all(gone(pid) for pid in again.values()), "both are gone")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (f"{sys.executable} -c 'raise SystemExit(\"out of memory\")' {{port}}", "ended with code 1.*out of memory"),
        ("/nonesuch/server {port}", "cannot be started.*No such file"),
        ("sh -c 'sleep 600 & exit 0' {port}", "ended with code 0; it must not go to the background"),
    ],
)
async def test_one_that_does_not_come_up_is_an_error_with_the_end_of_its_log(
    command: str, what: str, tmp_path: Path
) -> None:
    target = LaunchedTarget(options_of(tmp_path, command), lambda event: None)
    with pytest.raises(TargetError, match=f"(?s){what}"):
        await target.start()
    assert target.processes() == {}


async def test_one_that_never_answers_is_given_up_after_its_time(tmp_path: Path) -> None:
    target = LaunchedTarget(options_of(tmp_path, "sleep 60{port}", timeout_s=0.5), lambda event: None)
    with pytest.raises(TargetError, match=r"does not answer .* 0.5 s after it was started; see --launch-timeout"):
        await target.start()
    assert not [one for one in psutil.Process().children(recursive=True) if "sleep" in one.name()]


@pytest.mark.parametrize("leash_too", [False, True])
def test_it_is_gone_when_the_runner_is_killed(tmp_path: Path, leash_too: bool) -> None:
    script = (
        "import asyncio, json, sys\n"
        "from pathlib import Path\n"
        "from tests.integration.test_launched_target import SERVER, options_of\n"
        "from scenarios.runner.target import LaunchedTarget\n"
        "async def main():\n"
        "    target = LaunchedTarget(options_of(Path(sys.argv[1]), SERVER + ' {port} 0 child'), lambda event: None)\n"
        "    await target.start()\n"
        "    print(json.dumps(target.processes()), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((ROOT, str(Path(__file__).parent)))},
    ) as runner:
        assert runner.stdout is not None
        parts = json.loads(runner.stdout.readline())
        (leash,) = psutil.Process(runner.pid).children()
        if leash_too:
            leash.suspend()  # it clears nothing up, and dies with what it was to hold
            leash.kill()
        runner.kill()
    until(lambda: gone(parts["server"]), "the server is gone")
    if leash_too:
        psutil.Process(parts["child-1"]).kill()  # what has left the group is the leash's to find
    until(lambda: gone(parts["child-1"]), "its child is gone")


def test_a_process_is_the_target_s_where_it_listens_on_its_port(tmp_path: Path) -> None:
    with victim() as target, victim() as other:
        address = read_address(f"http://127.0.0.1:{target.port}")
        given = GivenProcess(str(target.pid), address)
        given.check()
        assert given.processes() == {"server": target.pid}
        with pytest.raises(TargetError, match=r"has started this run.*give the one that listens"):
            GivenProcess(str(os.getpid()), address).check()
        script = (
            "import os, sys\n"
            "from scenarios.address import read_address\n"
            "from scenarios.runner.target.given import GivenProcess\n"
            "GivenProcess(str(os.getppid()), read_address(sys.argv[1])).check()\n"
        )
        command = (sys.executable, "-c", script, f"http://127.0.0.1:{target.port}")
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr
        assert f"TargetError: process {os.getpid()} has started this run" in said
        with pytest.raises(TargetError, match="neither process"):
            GivenProcess(str(other.pid), address).check()
        with pytest.raises(TargetError, match="there is no process"):
            GivenProcess(str(2**22 + 1), address).check()
        with pytest.raises(TargetError, match="cannot be read"):
            GivenProcess(str(tmp_path / "none"), address).check()
        if os.geteuid() != 0:
            with pytest.raises(TargetError, match="another user's"):
                GivenProcess("1", address).check()


def test_a_file_is_read_anew_when_the_process_that_it_named_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "server.pid"
    with victim() as first:
        file.write_text(f"{first.pid}\n")
        given = GivenProcess(str(file), read_address(f"http://127.0.0.1:{first.port}"))
        assert given.processes() == {"server": first.pid}
        port = first.port
    assert given.processes() == {}
    with victim(port) as second:
        file.write_text(f"{second.pid}\n")
        assert given.processes() == {"server": second.pid}


SCENARIO = """\
name = "killed"
about = "A server of one's own, killed under load"
timeout = "5s"
[workload]
profile = "dataset"
file = "questions.jsonl"
[arrivals]
kind = "constant"
rate = 4.0
duration = "6s"
[[faults]]
kind = "engine.kill"
at = "2s"
[[faults]]
kind = "engine.model_missing"
at = "3s"
for = "1s"
[[gates]]
metric = "engine.restarts"
min = 1
"""


def test_a_run_against_a_server_of_one_s_own_kills_it_and_goes_on(tmp_path: Path) -> None:
    write_scenario(tmp_path, 1.0)  # for its questions
    (tmp_path / "killed.toml").write_text(SCENARIO)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "console", "run", str(tmp_path / "killed.toml"), "--json", "--plain"),
            *("--launch", launch("none", tmp_path), "--runs-dir", str(tmp_path / "runs"), "--preflight", "500ms"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        timeout=150,
        check=False,
    )
    assert ran.returncode in (0, 4), ran.stderr  # a busy machine makes it INVALID
    document = json.loads(ran.stdout)
    faults = {one["kind"]: one for one in document["summary"]["faults"]}
    assert faults["engine.kill"]["undone"]
    assert faults["engine.kill"]["outcome"] != "skipped"
    assert "embedded engine" in json.dumps(faults["engine.model_missing"])
    assert document["run"]["environment"]["launched"] is True
    assert sum(document["summary"]["outcomes"].values()) == document["summary"]["planned"]
    assert "recovered" in ran.stderr
