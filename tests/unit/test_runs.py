"""The runs directory: where it is, what it lists, how a run is named."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from test_report_samples import make_document, write_journal

from scenarios.errors import RunNotFound
from scenarios.runs import find_run, journal_path, list_runs, new_run_id, runs_dir

FIRST, SECOND = "20261122-000000-aaaa", "20261123-000000-bbbb"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for run_id in (FIRST, SECOND):
        write_journal(tmp_path, make_document(run_id=run_id), run_id=run_id)
    return tmp_path


def test_the_runs_directory_is_the_override_else_the_home_else_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    assert runs_dir(Path("x")) == Path("x")
    assert runs_dir() == tmp_path / "runs"
    monkeypatch.delenv("SEATRIAL_HOME")
    assert runs_dir().parts[-2:] == ("seatrial", "runs")


def test_runs_are_listed_newest_first(two: Path) -> None:
    assert [entry.id for entry in list_runs(two)] == [SECOND, FIRST]
    assert list_runs(two)[0].document is not None


def test_no_directory_is_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE meta SET value = '{' WHERE key = 'run'", "UPDATE meta SET value = '{\"id\": 3}' WHERE key = 'document'"],
)
def test_a_damaged_journal_is_listed_with_its_problem(two: Path, statement: str) -> None:
    db = sqlite3.connect(journal_path(two, SECOND))
    db.execute(statement)
    db.commit()
    db.close()
    newest, oldest = list_runs(two)
    assert newest.problem
    assert newest.info is None
    assert oldest.problem == ""


def test_a_journal_that_cannot_be_opened_is_listed_with_its_problem(two: Path) -> None:
    journal_path(two, SECOND).write_bytes(b"x" * 5000)
    assert "not a readable journal" in list_runs(two)[0].problem


@pytest.mark.parametrize(
    ("name", "run_id"), [("last", SECOND), (FIRST, FIRST), ("20261122", FIRST), ("aaaa", FIRST), ("bbbb", SECOND)]
)
def test_a_run_is_found_by_id_start_end_or_last(two: Path, name: str, run_id: str) -> None:
    assert find_run(two, name) == journal_path(two, run_id)


def test_a_run_is_found_by_its_journals_path(two: Path) -> None:
    path = journal_path(two, FIRST)
    assert find_run(two / "elsewhere", str(path)) == path


@pytest.mark.parametrize("name", ["2026", "none", "..", "/etc", ""])
def test_a_name_that_fits_no_run_or_several_is_refused(two: Path, name: str) -> None:
    with pytest.raises(RunNotFound, match="seatrial runs"):
        find_run(two, name)


def test_an_empty_directory_says_how_to_make_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="seatrial run SCENARIO"):
        find_run(tmp_path, "last")


def test_run_ids_sort_by_time_and_differ() -> None:
    ids = {new_run_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(run_id) == 22 for run_id in ids)
