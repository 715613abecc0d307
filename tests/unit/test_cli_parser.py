"""The command line's shape: help, errors, exit codes, streams."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from test_report_samples import make_document, write_journal

from console import cli, terminal
from console.cli import COMMANDS, build_parser, main
from console.exits import Exit
from console.options import rate, run_id, seconds


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["scenarios", "show"], ["scenarios", "check"]])
def test_every_command_explains_itself_with_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == Exit.GO
    text = capsys.readouterr().out
    assert "example" in text
    assert f"seatrial {' '.join(command)}".strip() in text


def test_commands_that_do_not_exist_yet_are_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    for absent in ("review", "web "):
        assert absent not in text
    assert main(["review"]) == Exit.USAGE


def test_help_is_quick() -> None:
    def once() -> float:
        """CPU seconds: the wall clock also counts what else this machine does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "console", "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) <= 0.15


@pytest.mark.parametrize(
    "argv",
    [
        ["run"],
        ["run", "x", "--seed", "-1"],
        ["run", "x", "--rate", "0"],
        ["run", "x", "--preflight", "0"],
        ["run", "x", "--nonsense"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("seatrial: ")
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize(
    ("argv", "what", "where"),
    [
        (["run", "peak-traffic", "--nonsense"], "--nonsense", "`seatrial run --help`"),
        (["scenarios", "show", "peak-traffic", "extra"], "extra", "`seatrial scenarios --help`"),
        (["--nonsense"], "--nonsense", "`seatrial --help`"),
        (["run", "peak-traffic", "--dur", "9s"], "--dur 9s", "`seatrial run --help`"),
    ],
)
def test_an_unknown_or_cut_option_names_the_help_of_its_command(
    argv: list[str], what: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == Exit.USAGE
    assert capsys.readouterr().err == f"seatrial: unrecognized arguments: {what}; {where} shows what there is\n"


def test_an_option_before_the_command_is_refused_and_not_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs-dir", "/x", "runs"]) == Exit.USAGE
    assert "--runs-dir goes after the command" in capsys.readouterr().err


def test_without_a_terminal_the_console_points_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "seatrial: the console needs a terminal; without one use `seatrial run SCENARIO`\n"


def test_json_before_the_action_is_refused_and_not_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "--json", "show", "peak-traffic"]) == Exit.USAGE
    assert "--json goes after the action" in capsys.readouterr().err
    assert main(["scenarios", "--json"]) == Exit.GO
    assert capsys.readouterr().out.startswith("{")


def test_a_readonly_console_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--readonly", "--start", "peak-traffic"]) == Exit.USAGE
    assert "--readonly starts nothing" in capsys.readouterr().err


def test_a_bug_is_one_line_with_the_saved_traceback_and_exit_70(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(argv: object) -> None:
        raise ZeroDivisionError("by zero \x1b[2J")

    monkeypatch.setattr(cli, "parse", broken)
    assert main(["runs"]) == Exit.INTERNAL
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    (saved,) = (home / "crashes").iterdir()
    assert str(saved) in err
    assert "ZeroDivisionError" in saved.read_text()
    assert saved.stat().st_mode & 0o077 == 0


def test_a_reader_that_leaves_early_is_no_error(home: Path) -> None:
    write_journal(home / "runs")
    line = f"{sys.executable} -m console export last | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.endswith("0\n")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("runs >&-", 0, ""),
        ("show last --json >&-", 0, ""),
        ("show nothing 2>&-", 2, ""),
        ("<&-", 2, "the console needs a terminal"),
        ("run peak-traffic --target http://far.example <&-", 2, "add --yes"),
        ("--help >&- 2>&- <&-", 0, ""),
    ],
)
def test_a_closed_stream_is_like_the_null_device(home: Path, line: str, code: int, said: str) -> None:
    write_journal(home / "runs", make_document())
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m console {line}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", [["show", "last", "--json"], ["runs", "--json"], ["export", "last"]])
def test_json_stays_the_same_json_in_any_encoding(home: Path, encoding: str, command: list[str]) -> None:
    write_journal(home / "runs", make_document(target="→ é 日 😀"))
    done = subprocess.run(
        [sys.executable, "-m", "console", *command],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    text = done.stdout.decode(encoding)
    documents = [json.loads(line) for line in text.splitlines()] if "export" in command else [json.loads(text)]
    assert "日" in json.dumps(documents, ensure_ascii=False)


def test_a_full_disk_behind_stdout_is_said() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "console", "scenarios"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == Exit.USAGE
    assert "seatrial: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_outside_a_run_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parse", interrupted)
    assert main([]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "seatrial: interrupted\n"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"9 of {name}")
    assert main(["--version"]) == Exit.GO
    assert capsys.readouterr().out == "seatrial 9 of seatrial\n"


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90.0), ("3m", 180.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("12", 12.0)]
)
def test_durations_are_read_with_units(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "3q", "0", "-1", "nan", "inf", "1m x", "8d", "1e99"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"no duration|not between"):
        seconds(text)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "fast", "inf"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"no rate|not between"):
        rate(text)


@pytest.mark.parametrize("text", ["..", "a/b", "", "-x", "a" * 65, "x\n"])
def test_a_run_id_cannot_leave_the_runs_directory(text: str) -> None:
    with pytest.raises(Exception, match="no run id"):
        run_id(text)


def test_a_stream_without_unicode_gets_ascii_glyphs() -> None:
    class Latin:
        encoding = "latin-1"

    assert terminal.fitted("✓ GO █░ ≤", Latin()) == "+ GO #. <="  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["1", "0", ""])
def test_colour_needs_a_terminal_and_heeds_no_color(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", value)
    assert terminal.colourful(Terminal(), plain=False) is (value == "")  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    assert not terminal.colourful(Terminal(), plain=True)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.colourful(Terminal(), plain=False)  # type: ignore[arg-type]


def test_all_parsers_can_be_built_at_once() -> None:
    assert build_parser().parse_args(["show", "last"]).run == "last"
