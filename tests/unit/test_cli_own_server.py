"""--launch and --target-pid: what is wrong with them is said before anything is started."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli import main
from console.exits import Exit
from console.options import add_runs_dir, add_trial_options
from console.prepare import make_options
from scenarios.runner.options import Means, means_of
from scenarios.scenario_file import find_scenario

SERVER = f"{sys.executable} server.py {{port}}"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            ["--launch", SERVER, "--target", "http://localhost:1"],
            "--target is for one elsewhere and --launch is for one",
        ),
        (["--launch", SERVER, "--model", "m.gguf"], "give one of them"),
        (["--launch", "server --port 8080"], "does not say where the port goes"),
        (["--launch", "server '{port}"], "write it as in a shell"),
        (["--launch", "/nonesuch/server {port}"], "there is no program /nonesuch/server"),
        (["--target-pid", "1"], "--target-pid belongs to a --target"),
        (["--target", "http://localhost:1", "--target-pid", "/nonesuch"], "cannot be read"),
        (["--target", "http://localhost:1", "--target-pid", str(os.getpid())], "listens on port 1"),
        (["--target", "https://example.org", "--target-pid", "1", "--yes"], "a port of this machine"),
    ],
)
def test_a_wrong_choice_is_a_usage_error(
    options: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "peak-traffic", "--runs-dir", str(tmp_path), *options]) == Exit.USAGE
    assert what in capsys.readouterr().err


@pytest.mark.parametrize("by_file", [False, True])
def test_what_was_chosen_reaches_the_runner_and_a_run_that_is_resumed(by_file: bool, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_trial_options(parser)
    add_runs_dir(parser)
    parser.set_defaults(inject=False)
    scenario = find_scenario("peak-traffic")
    launched = make_options(
        parser.parse_args(["--runs-dir", str(tmp_path), "--launch", SERVER, "--launch-timeout", "7s"]), scenario, "a"
    )
    assert (launched.launch, launched.launch_timeout_s, launched.target, launched.model) == (SERVER, 7.0, None, None)
    assert means_of(launched).launch == SERVER
    listens = (
        "import socket; it = socket.create_server(('127.0.0.1', 0)); print(it.getsockname()[1], flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", listens],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        url = f"http://127.0.0.1:{child.stdout.readline().strip()}"
        pid = str(child.pid)
        if by_file:
            (tmp_path / "pid").write_text(pid)
            pid = str(tmp_path / "pid")
        words = ["--runs-dir", str(tmp_path), "--target", url, "--target-pid", pid]
        given = make_options(parser.parse_args(words), scenario, "b")
        child.kill()
    means = means_of(given)
    assert (means.target, means.target_pid) == (url, pid)
    assert isinstance(means, Means)
