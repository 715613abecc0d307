"""`seatrial run` with a runner of its own making: options, streams, files, exit codes, interruption."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from test_report_samples import RUN_ID, make_document, make_gate, make_tick, write_journal

import scenarios.runner
from console.cli import code_of, main
from console.exits import Exit
from console.output import check_writable, write_atomically
from scenarios.definition import Chaos, Keep
from scenarios.errors import HarnessError, StoppedEarly, TargetError
from scenarios.journal import JournalWriter
from scenarios.rebuild import SCENARIO
from scenarios.result import GateVerdict, ResultDocument, Verdict
from scenarios.runner import RunOptions
from scenarios.runner.options import means_of
from scenarios.runner.record import ALIVE_AT, MEANS
from scenarios.tick import Event

RUN = ["run", "peak-traffic", "--run-id", RUN_ID]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SEATRIAL_API_KEY", raising=False)
    return tmp_path / "home" / "runs"


@pytest.fixture
def runner(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ResultDocument], list[RunOptions]]:
    """Installs a runner that writes a small journal and ends with the given document."""

    def install(document: ResultDocument) -> list[RunOptions]:
        seen: list[RunOptions] = []

        async def run_trial(
            options: RunOptions, on_tick: Callable[..., None], on_event: Callable[..., None], stop: asyncio.Event
        ) -> ResultDocument:
            seen.append(options)
            on_tick(make_tick())
            on_event(Event(t_s=90.0, kind="fault.start", text="engine.kill \x1b[2J"))
            write_journal(options.runs_dir, document, state=document.run.state, run_id=options.run_id)
            return document

        monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
        return seen

    return install


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Verdict.GO, 0), (Verdict.NO_GO, 1), (Verdict.INCONCLUSIVE, 3), (Verdict.INVALID, 4)],
)
def test_the_exit_code_is_the_verdict(
    runner: Callable[..., list[RunOptions]], verdict: Verdict, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    runner(make_document(verdict))
    assert main(RUN) == code
    out, err = capsys.readouterr()
    assert verdict.value in out.splitlines()[0]
    assert "\x1b" not in out + err
    assert "engine.kill" in err
    assert "due 4.0/s" in err


def test_json_is_exactly_one_document_on_stdout(
    runner: Callable[..., list[RunOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    runner(make_document())
    assert main([*RUN, "--json"]) == Exit.GO
    assert json.loads(capsys.readouterr().out)["verdict"] == "GO"


def test_options_reach_the_runner(runner: Callable[..., list[RunOptions]], runs: Path) -> None:
    seen = runner(make_document())
    assert main([*RUN, "--seed", "7", "--rate", "3", "--duration", "9s", "--workers", "2"]) == Exit.GO
    (options,) = seen
    assert (options.seed, options.workers, options.runs_dir, options.run_id) == (7, 2, runs, RUN_ID)
    assert options.scenario.arrivals.duration_s == 9.0
    assert (options.target, options.model, options.api_key_env) == (None, None, None)


def test_reports_are_written_and_equal_to_those_made_again(
    runner: Callable[..., list[RunOptions]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner(make_document(Verdict.NO_GO, (make_gate(verdict=GateVerdict.FAIL, measured=1.2),)))
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
    assert main([*RUN, "--junit", str(first / "j.xml"), "--markdown", str(first / "m.md")]) == Exit.NO_GO
    text = capsys.readouterr().out
    assert main(["report", "last", "--junit", str(again / "j.xml"), "--markdown", str(again / "m.md")]) == Exit.NO_GO
    assert capsys.readouterr().out == text
    for name in ("j.xml", "m.md"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert len(list(first.iterdir())) == 2


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_an_output_path_that_cannot_be_written_is_an_error_before_the_run(
    option: str, runner: Callable[..., list[RunOptions]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = runner(make_document())
    assert main([*RUN, option, str(tmp_path / "missing" / "file")]) == Exit.USAGE
    assert main([*RUN, option, str(tmp_path)]) == Exit.USAGE
    assert "there is no folder" in capsys.readouterr().err
    assert main([*RUN, "--junit", str(tmp_path / "x"), "--markdown", str(tmp_path / "x")]) == Exit.USAGE
    assert not seen


def test_a_report_that_cannot_be_written_after_the_run_turns_go_into_an_error(
    runner: Callable[..., list[RunOptions]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    runner(make_document())
    monkeypatch.setattr("console.verdict.write_atomically", full)
    assert main([*RUN, "--junit", str(tmp_path / "j.xml")]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert "GO" in out
    assert "No space left on device" in err


def test_a_report_goes_into_a_pipe_or_device_and_never_replaces_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable("--junit", pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_atomically(pipe, "<testsuite/>\n")
        assert read.result(20) == "<testsuite/>\n"
    assert pipe.is_fifo()


def test_a_report_is_written_through_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_run_cleanly_and_keeps_the_journal(
    number: signal.Signals, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run_trial(options: RunOptions, *_: object) -> ResultDocument:
        stop = _[-1]
        assert isinstance(stop, asyncio.Event)
        os.kill(os.getpid(), number)
        await stop.wait()
        document = make_document(Verdict.INCONCLUSIVE, state="interrupted")
        write_journal(options.runs_dir, document, state="interrupted", run_id=options.run_id)
        return document

    monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
    assert main(RUN) == Exit.INTERRUPTED
    out, err = capsys.readouterr()
    assert "interrupted after 6 of 320" in out
    assert f"the journal is kept in {runs / RUN_ID / 'journal.sqlite'}" in err


@pytest.mark.parametrize("search", [None, Chaos()])
def test_a_run_that_was_stopped_is_said_to_go_on_where_it_can(
    search: Chaos | None, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run_trial(options: RunOptions, *_: object) -> ResultDocument:
        document = make_document(Verdict.INCONCLUSIVE, state="interrupted")
        path = write_journal(options.runs_dir, document, state="interrupted", run_id=options.run_id)
        with closing(JournalWriter.reopen(path, Keep())) as journal:
            scenario = dataclasses.replace(options.scenario, chaos=search)
            journal.set_meta(SCENARIO, msgspec.json.encode(scenario).decode())
            journal.set_meta(MEANS, msgspec.json.encode(means_of(options)).decode())
            journal.set_meta(ALIVE_AT, "0.0")
        return document

    monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
    assert main(RUN) == Exit.INTERRUPTED
    err = capsys.readouterr().err
    assert f"`seatrial show {RUN_ID}` reads it" in err
    assert (f"`seatrial resume {RUN_ID}` goes on" in err) == (search is None)


def test_a_second_ctrl_c_ends_a_run_that_does_not_stop(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run_trial(options: RunOptions, *_: object) -> ResultDocument:
        for _unused in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)
        await asyncio.sleep(30)
        raise AssertionError

    monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
    assert main(RUN) == Exit.INTERRUPTED
    assert "stopped at once before anything was journalled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HarnessError("load worker 0 cannot be started"), Exit.TARGET),
        (StoppedEarly("run r1 was stopped while it was being prepared"), Exit.INTERRUPTED),
    ],
)
def test_a_run_without_a_document_exits_as_its_report_does(error: HarnessError, code: Exit) -> None:
    assert code_of(error) == code


def test_a_target_that_cannot_be_reached_is_exit_5(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run_trial(*_: object) -> ResultDocument:
        raise TargetError("nothing answers at http://x; is the server started?")

    monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
    assert main(RUN) == Exit.TARGET
    out, err = capsys.readouterr()
    assert out == ""
    assert "seatrial: nothing answers at http://x; is the server started?" in err


def test_mistakes_in_a_scenario_are_listed_with_their_lines(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "x"\n[workload]\nprofile = "support-cat"\n[arrivals]\nkind = "constant"\nrate = 1.0\n')
    assert main(["run", str(path)]) == Exit.USAGE
    err = capsys.readouterr().err
    assert f"{path}:3: " in err
    assert "support-chat" in err


def test_a_run_never_takes_the_id_of_another(
    runner: Callable[..., list[RunOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = runner(make_document())
    assert main(RUN) == Exit.GO
    assert main(RUN) == Exit.USAGE
    assert "there is a run" in capsys.readouterr().err
    assert len(seen) == 1


def test_start_without_a_terminal_runs_headless(
    runner: Callable[..., list[RunOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = runner(make_document())
    assert main(["--start", "peak-traffic", "--seed", "5"]) == Exit.GO
    assert seen[0].seed == 5
    out, err = capsys.readouterr()
    assert "GO" in out
    assert "runs headless" in err
