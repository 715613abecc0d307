"""runs, show, watch, report and export: readers of journals, also of those whose run died."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path

import pytest
from test_report_samples import RUN_ID, make_document, write_journal

import scenarios.rebuild
from console import liveness
from console.cli import main
from console.exits import Exit
from scenarios.journal import JournalWriter
from scenarios.result import ResultDocument, Verdict
from scenarios.runs import journal_path, new_run_id


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    return tmp_path / "runs"


@pytest.fixture
def died(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run without a document whose process is gone; what rebuilding makes of it is fixed here."""
    path = write_journal(runs, None, state="running", done=4)

    def rebuild(_: object) -> ResultDocument:
        return make_document(Verdict.INCONCLUSIVE, state="running")

    monkeypatch.setattr(scenarios.rebuild, "rebuild", rebuild)
    return path


def test_runs_lists_newest_first_also_as_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(runs, make_document(), run_id="20261122-000000-aaaa")
    write_journal(runs, make_document(Verdict.NO_GO), run_id="20261123-000000-bbbb")
    assert main(["runs", "--json"]) == Exit.GO
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [row["id"] for row in rows] == ["20261123-000000-bbbb", "20261122-000000-aaaa"]
    assert {"id", "scenario", "started_at", "verdict", "state", "target", "model"} <= rows[0].keys()
    assert rows[0]["verdict"] == "NO-GO"
    assert main(["runs"]) == Exit.GO
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("✗ NO-GO")
    assert "20261123-000000-bbbb" in lines[1]


def test_the_columns_of_the_list_stand_apart_and_in_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [new_run_id(), "a-long-name-of-its-own-with-40-characters"]
    for run_id in ids:
        write_journal(runs, make_document(), run_id=run_id)
    assert main(["runs"]) == Exit.GO
    head, *lines = capsys.readouterr().out.splitlines()
    assert {line.split("  ")[0] for line in lines} == {"✓ GO"}
    assert {line.split()[2] for line in lines} == set(ids)
    assert {line.index("2026-11-22 10:15") for line in lines} == {head.index("started")}


def test_a_run_that_died_and_a_damaged_journal_are_listed_as_such(
    runs: Path, died: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = journal_path(runs, "20261121-000000-cccc")
    damaged.parent.mkdir()
    damaged.write_bytes(b"this is no database" * 100)
    assert main(["runs", "--json"]) == Exit.GO
    states = {row["id"]: row["state"] for row in json.loads(capsys.readouterr().out)["runs"]}
    assert states == {RUN_ID: "died", "20261121-000000-cccc": "unreadable"}


def test_no_runs_is_no_error(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == Exit.GO
    assert "no runs in" in capsys.readouterr().err
    assert main(["show", "last"]) == Exit.USAGE
    assert "seatrial run SCENARIO" in capsys.readouterr().err


def test_show_prints_the_report_and_says_only_whether_it_could(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(runs, make_document(Verdict.NO_GO))
    assert main(["show", "last"]) == Exit.GO
    assert "NO-GO" in capsys.readouterr().out
    assert main(["show", RUN_ID[:8], "--json"]) == Exit.GO
    assert json.loads(capsys.readouterr().out)["run"]["id"] == RUN_ID


def test_the_commands_that_a_report_names_find_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my trials"
    write_journal(folder, make_document())
    assert main(["show", "last", "--runs-dir", str(folder)]) == Exit.GO
    assert f"seatrial export {RUN_ID} --runs-dir '{folder}'" in capsys.readouterr().out


def test_a_run_that_died_is_reported_as_far_as_it_came(
    died: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "last", "--junit", str(tmp_path / "j.xml")]) == Exit.INCONCLUSIVE
    out, err = capsys.readouterr()
    assert "died after 4 of 320 requests; everything committed is shown" in out.replace("\n", " ")
    assert "died after 4 of 320" in err
    assert "died after 4" in (tmp_path / "j.xml").read_text()


def test_watch_prints_the_progress_of_a_finished_run_and_returns_its_verdict(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(runs, make_document(Verdict.NO_GO))
    assert main(["watch", "last"]) == Exit.NO_GO
    out, err = capsys.readouterr()
    assert "NO-GO" in out
    assert "in flight 7" in err
    assert "recovered after 3.2 s" in err


def test_watch_ends_with_the_run_that_it_watches(died: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "last", "--json"]) == Exit.INCONCLUSIVE
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["state"] == "running"
    assert "The run died after 4" in err


def test_a_run_whose_target_never_came_up_is_exit_5(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scenarios.tick import Event

    writer = JournalWriter(journal_path(runs, RUN_ID))
    writer.set_run(make_document(state="failed").run)
    writer.add_event(Event(t_s=-0.3, kind="run.failed", text="nothing answers at http://x"))
    writer.close()
    assert main(["report", "last"]) == Exit.TARGET
    assert "never began: nothing answers at http://x" in capsys.readouterr().err


def test_a_run_is_alive_exactly_as_long_as_it_holds_its_lock(tmp_path: Path) -> None:
    path = write_journal(tmp_path, None, state="running")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # the run's process
        with liveness.hold(path.parent):
            os.write(writer, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    try:
        assert liveness.is_alive(path)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    assert not liveness.is_alive(path)


def test_without_a_lock_the_process_id_in_the_journal_decides(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for number, alive in ((os.getpid(), True), (child, False)):
        path = journal_path(tmp_path, f"run-{number}")
        writer = JournalWriter(path)
        writer.set_meta("runner_pid", str(number))
        writer.close()
        assert liveness.is_alive(path) is alive


def test_export_writes_one_row_for_each_observation_as_json_lines(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(runs, make_document())
    assert main(["export", "last"]) == Exit.GO
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["index"] for row in rows] == list(range(6))
    assert rows[2]["findings"] == ["secret"]
    assert rows[2]["ttft_s"] == pytest.approx(0.12)
    assert rows[2]["event_s"] == [1.12, 1.8]
    assert "\u202e" in rows[2]["answer"]
    assert rows[1]["outcome"] == "timeout"
    assert rows[1]["correct"] is False


def test_export_to_csv_disarms_formulas(runs: Path, tmp_path: Path) -> None:
    write_journal(runs, make_document())
    path = tmp_path / "o.csv"
    assert main(["export", "last", "--output", str(path)]) == Exit.GO
    rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    assert len(rows) == 6
    assert rows[0]["prompt"] == "'=prompt 0"
    assert "\x1b" not in path.read_text()


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_export_can_leave_out_every_text(kind: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(runs, make_document())
    assert main(["export", "last", "--redact", "--format", kind]) == Exit.GO
    out = capsys.readouterr().out
    assert "prompt 0" not in out
    assert "gone" not in out
    assert "no byte" not in out


def test_export_to_a_missing_folder_is_an_error(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(runs, make_document())
    assert main(["export", "last", "--output", str(tmp_path / "no" / "o.csv")]) == Exit.USAGE
    assert "there is no folder" in capsys.readouterr().err
