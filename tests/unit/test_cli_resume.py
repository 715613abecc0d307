"""`seatrial resume`: what cannot be resumed is said in one line with exit 2, before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_report_samples import RUN_ID, make_document, write_journal

from console.cli import main
from console.exits import Exit
from scenarios.definition import Keep
from scenarios.journal import JournalWriter


def resume(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["resume", *argv])
    return code, capsys.readouterr().err


def test_a_complete_run_has_a_verdict_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(tmp_path, make_document())
    code, said = resume(capsys, "last", "--runs-dir", str(tmp_path))
    assert code == Exit.USAGE
    assert f"run {RUN_ID} is complete; `seatrial show {RUN_ID}`" in said


def test_a_run_that_is_still_at_work_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_journal(tmp_path, state="running")
    writer = JournalWriter.reopen(path, Keep())
    writer.set_meta("runner_pid", str(os.getpid()))
    writer.close()
    code, said = resume(capsys, "last", "--runs-dir", str(tmp_path))
    assert code == Exit.USAGE
    assert f"still at work; `seatrial watch {RUN_ID}`" in said


def test_a_run_without_what_it_was_started_with_is_started_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(tmp_path, state="interrupted")
    code, said = resume(capsys, RUN_ID, "--runs-dir", str(tmp_path))
    assert code == Exit.USAGE
    assert "start it anew with `seatrial run`" in said


def test_a_journal_that_lies_elsewhere_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_journal(tmp_path, state="interrupted")
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    code, said = resume(capsys, str(copy))
    assert code == Exit.USAGE
    assert "in its own folder" in said


def test_a_run_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = resume(capsys, "last", "--runs-dir", str(tmp_path))
    assert code == Exit.USAGE
    assert "no runs in" in said
