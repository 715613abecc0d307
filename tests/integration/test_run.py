"""A whole run through the real command line, the real engine and the real demo model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.config import DEMO_MODEL
from scenarios.journal import JournalReader, send_command
from scenarios.rebuild import rebuild
from scenarios.report import render_json
from scenarios.runs import journal_path

pytestmark = pytest.mark.skipif(not DEMO_MODEL.is_file(), reason=f"{DEMO_MODEL} is missing")

SHORT = """
name = "short"
about = "a few easy requests"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = 4.0
duration = "{duration}"
[slo]
ttft_s = 2.0
[engine]
slots = 4
{faults}
[[gates]]
metric = "ok_rate"
min = 0.5
[[gates]]
metric = "error_rate"
max = 0.9
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(folder: Path, duration: str = "5s", faults: str = "") -> Path:
    path = folder / "short.toml"
    path.write_text(SHORT.format(duration=duration, faults=faults))
    return path


def start(scenario: Path, runs: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "console", "run", str(scenario), "--runs-dir", str(runs), "--run-id", "r1"]
    command += ["--preflight", "500ms", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(scenario: Path, runs: Path, *more: str, within_s: float = 120) -> tuple[int, dict[str, Any]]:
    process = start(scenario, runs, "--json", *more)
    out, err = process.communicate(timeout=within_s)
    assert out, err
    return process.returncode, json.loads(out)


def until_done(runs: Path, count: int, within_s: float = 60.0) -> None:
    """Wait until the journal holds that many observations."""
    path = journal_path(runs, "r1")
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if path.exists():
            with JournalReader(path) as reader:
                if sum(1 for _ in reader.observations()) >= count:
                    return
        time.sleep(0.05)
    raise AssertionError(f"not {count} observations within {within_s} s")


def engine_processes(runs: Path) -> list[int]:
    """Engine processes of this test's run: those whose log lies in its runs directory."""
    log = str(runs / "r1" / "engine.log")
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if "engine" not in " ".join(process.info["cmdline"] or []):
            continue
        try:
            if os.readlink(f"/proc/{process.pid}/fd/2") == log:
                found.append(process.pid)
        except OSError:
            continue  # it ended a moment ago
    return found


def report(runs: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "console", "report", "r1", "--runs-dir", str(runs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_short_run_ends_in_go_with_every_request_accounted_for(scenario: Path, tmp_path: Path) -> None:
    code, document = run(scenario, tmp_path / "runs")
    summary = document["summary"]
    assert summary["planned"] == 20
    assert sum(summary["outcomes"].values()) == 20
    assert summary["outcomes"]["ok"] == 20
    assert summary["tokens_from"] == "usage"
    assert summary["ttft_s"]["p50"] <= 2.0
    assert (code, document["verdict"]) == (0, "GO")


def test_a_report_rebuilt_from_the_journal_is_byte_for_byte_the_one_the_run_wrote(
    scenario: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = start(scenario, runs, "--json")
    written, _ = process.communicate(timeout=120)
    command = [sys.executable, "-m", "console", "report", "r1", "--runs-dir", str(runs), "--json"]
    reported = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    assert reported == written
    with JournalReader(journal_path(runs, "r1")) as reader:  # `report` shows the stored document; this makes it anew
        assert render_json(rebuild(reader)).strip() == written.strip()


def test_a_killed_engine_is_back_and_no_observation_is_missing(tmp_path: Path) -> None:
    faults = '[[faults]]\nkind = "engine.kill"\nat = "3s"\n'
    code, document = run(write(tmp_path, "12s", faults), tmp_path / "runs")
    summary = document["summary"]
    assert sum(summary["outcomes"].values()) == summary["planned"] == 48
    assert summary["outcomes"]["ok"] >= 24
    assert [one["cause"] for one in summary["recovery"]] == ["engine.kill"]
    assert summary["recovery"][0]["recovered_s"] is not None
    assert code in (0, 1, 3)


def test_a_killed_runner_leaves_a_journal_to_report_and_no_process(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start(write(tmp_path, "30s"), runs)
    until_done(runs, 8)
    assert engine_processes(runs)
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while engine_processes(runs) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engine_processes(runs) == []
    document = report(runs)
    assert document["summary"]["outcomes"]["ok"] >= 8
    assert sum(document["summary"]["outcomes"].values()) == 120
    assert document["verdict"] != "GO"


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_stopped_run_ends_cleanly_as_interrupted(how: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start(write(tmp_path, "60s"), runs, "--json")
    until_done(runs, 4)
    if how == "signal":
        process.send_signal(signal.SIGINT)
    else:
        send_command(journal_path(runs, "r1"), "stop")
    out, _ = process.communicate(timeout=30)
    document = json.loads(out)
    assert process.returncode == 130
    assert document["run"]["state"] == "interrupted"
    assert sum(document["summary"]["outcomes"].values()) == 240
    assert document["summary"]["outcomes"]["unsent"] > 0


def test_a_fault_asked_for_live_is_injected_and_journalled(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start(write(tmp_path, "12s"), runs, "--json")
    until_done(runs, 4)
    send_command(journal_path(runs, "r1"), "fault", "engine.kill")
    out, _ = process.communicate(timeout=60)
    assert [one["cause"] for one in json.loads(out)["summary"]["recovery"]] == ["engine.kill"]
    with JournalReader(journal_path(runs, "r1")) as reader:
        kinds = [event.kind for _, event in reader.events()]
        assert [command.kind for _, command in reader.commands()] == ["fault"]
    assert kinds.index("fault.start") < kinds.index("fault.end")


def test_nothing_answering_at_the_target_is_exit_code_5(scenario: Path, tmp_path: Path) -> None:
    process = start(scenario, tmp_path / "runs", "--target", "http://127.0.0.1:9")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "127.0.0.1:9" in err
    assert "Traceback" not in err
