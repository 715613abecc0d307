"""How the console starts a run, and how it learns that one could not start."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from test_report_samples import RUN_ID, make_document, write_journal

from console import launch
from console.cli import main
from console.errors import LaunchError
from console.options import add_trial_options
from scenarios.runs import journal_path

TESTS = str(Path(__file__).parent)
WRITES_A_JOURNAL = f"""
import sys; sys.path.insert(0, {TESTS!r})
import os, time
from pathlib import Path
from test_report_samples import write_journal
assert os.getsid(0) == os.getpid()
print("hello")
write_journal(Path(sys.argv[1]), None, state="running", run_id=sys.argv[2])
"""


def test_a_started_run_is_detached_logged_and_its_journal_returned(tmp_path: Path) -> None:
    path = launch.start([sys.executable, "-c", WRITES_A_JOURNAL, str(tmp_path), RUN_ID], tmp_path, RUN_ID)
    assert path == tmp_path / RUN_ID / "journal.sqlite"
    log = tmp_path / RUN_ID / launch.LOG_NAME
    assert log.stat().st_mode & 0o077 == 0


def test_a_run_that_dies_first_is_explained_by_its_log(tmp_path: Path) -> None:
    program = "import sys; sys.stderr.write('seatrial: no such thing \\x1b[2J; do this\\n'); sys.exit(5)"
    with pytest.raises(LaunchError, match="exit code 5") as caught:
        launch.start([sys.executable, "-c", program], tmp_path, RUN_ID)
    assert "no such thing" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_ctrl_c_while_a_run_starts_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Child(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            started.append(self)

    def interrupted(_: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen", Child)
    monkeypatch.setattr(launch, "readable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.start([sys.executable, "-c", "import threading; threading.Event().wait(60)"], tmp_path, RUN_ID)
    assert started[0].wait(20) == -signal.SIGTERM


def test_the_launcher_forwards_every_trial_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def start(command: list[str], directory: Path, run_id: str) -> Path:
        seen.append(command)
        return directory

    monkeypatch.setattr(launch, "start", start)
    parser = argparse.ArgumentParser()
    add_trial_options(parser)
    line = [
        "--seed",
        "7",
        "--rate",
        "2",
        "--duration",
        "9s",
        "--workers",
        "3",
        "--preflight",
        "2s",
        "--i-own-this-target",
        "--yes",
    ]
    launch.make_launcher(parser.parse_args(line), tmp_path, "https://far", None)("peak-traffic")
    (command,) = seen
    assert command[1:4] == ["-m", "console", "run"]
    text = " ".join(command)
    for part in (
        "--seed 7",
        "--rate 2.0",
        "--duration 9.0",
        "--workers 3",
        "--preflight 2.0",
        "--target https://far",
        "--yes",
        "-- peak",
    ):
        assert part in text
    from console.cli import build_parser

    assert build_parser().parse_args(command[3:]).scenario == "peak-traffic"


def test_a_real_child_reports_a_wrong_scenario(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_trial_options(parser)
    start = launch.make_launcher(parser.parse_args([]), tmp_path, None, None)
    with pytest.raises(LaunchError, match="no scenario and no file"):
        start("no-such-scenario")


def test_the_child_is_not_confused_by_a_folder_called_console(tmp_path: Path) -> None:
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    done = subprocess.run(
        [sys.executable, "-m", "console", "--help"],
        cwd=tmp_path,
        env=launch._environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """A terminal, and a console that only notes how it was opened."""
    opened: list[dict[str, Any]] = []

    def run_console(**settings: Any) -> int:
        opened.append(settings)
        return 0

    module = types.ModuleType("console.tui.app")
    module.run_console = run_console  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "console.tui.app", module)
    monkeypatch.setattr("console.terminal.interactive", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    return opened


def test_on_a_terminal_the_bare_command_opens_the_console(screen: list[dict[str, Any]], tmp_path: Path) -> None:
    assert main(["--readonly"]) == 0
    (settings,) = screen
    assert settings["runs_dir"] == tmp_path / "runs"
    assert settings["journal"] is None
    assert settings["readonly"] is True


def test_start_opens_the_console_on_the_run_that_it_started(
    screen: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(command: list[str], directory: Path, run_id: str) -> Path:
        assert command[-1] == "peak-traffic"
        return write_journal(directory, make_document(), run_id=RUN_ID)

    monkeypatch.setattr(launch, "start", start)
    assert main(["--start", "peak-traffic", "--seed", "3"]) == 0
    assert screen[0]["journal"] == journal_path(tmp_path / "runs", RUN_ID)
    assert f"run {RUN_ID}: GO; `seatrial show {RUN_ID}`" in capsys.readouterr().err


@pytest.mark.parametrize(("alive", "told"), [(True, "is still at work; `seatrial watch"), (False, "`seatrial report")])
def test_what_becomes_of_a_run_that_is_left_is_told_once(
    alive: bool,
    told: str,
    screen: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_journal(tmp_path / "runs", None, state="running")
    monkeypatch.setattr("console.liveness.is_alive", lambda _: alive)
    assert main(["watch", "last"]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"run {RUN_ID} ")
    assert told in err
    assert err.count("\n") == 1


def test_a_dumb_terminal_has_no_console(screen: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert main([]) == 2
    assert screen == []


def test_watch_on_a_terminal_opens_the_console_on_the_run(screen: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_journal(tmp_path / "runs", make_document())
    assert main(["watch", "last", "--readonly"]) == 0
    assert screen[0]["journal"] == path
    assert screen[0]["readonly"] is True


def test_a_wrong_scenario_is_said_before_the_console_opens(
    screen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--start", "no-such-scenario"]) == 2
    assert screen == []
    assert "no scenario and no file" in capsys.readouterr().err


def test_an_unwritable_runs_directory_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["run", "peak-traffic", "--runs-dir", str(tmp_path / "file" / "runs")]) == 2
    assert "cannot be made" in capsys.readouterr().err
