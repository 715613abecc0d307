"""The journal: private, never overwritten, readable while it is written and after its writer was killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from test_report_samples import RUN_ID, make_document, make_observation, make_tick, write_journal

from scenarios.errors import JournalError
from scenarios.journal import JournalReader, JournalWriter, send_command
from scenarios.observation import Outcome
from scenarios.tick import Event

TESTS = str(Path(__file__).parent)


def test_what_was_written_is_read_back_the_same(tmp_path: Path) -> None:
    document = make_document()
    with JournalReader(write_journal(tmp_path, document)) as reader:
        assert reader.run() == document.run
        assert reader.document() == document
        assert [o.index for o in reader.observations()] == list(range(6))
        assert reader.observation(1) == make_observation(1, Outcome.TIMEOUT)
        assert reader.observation(99) is None
        assert reader.request(5) is not None
        assert reader.request(99) is None
        assert len(list(reader.plan())) == 6
        assert [j.correct for j in reader.judged()] == [True, False, True, True, True, True]
        assert [f.category for f in reader.findings()] == ["secret"]
        assert reader.newest_findings(5) == list(reader.findings())
        assert reader.ticks() == [(1, make_tick())]
        assert reader.ticks(after=1) == []
        assert reader.last_tick() == make_tick()
        assert [event.kind for _, event in reader.events()] == ["fault.start", "fault.end"]
        assert [event.kind for _, event in reader.events(after=1)] == ["fault.end"]


def test_a_journal_and_its_folder_are_private_to_their_owner(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write_journal(tmp_path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    writer = JournalWriter(tmp_path / "other" / "journal.sqlite")
    try:
        for file in (tmp_path / "other").iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
    finally:
        writer.close()


def test_a_run_never_overwrites_a_journal(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    with pytest.raises(JournalError, match="never overwrites"):
        JournalWriter(path)


def test_rows_are_seen_by_a_reader_only_once_committed(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    with JournalReader(writer.path) as reader:
        writer.add_event(Event(t_s=0.0, kind="a", text=""))
        assert reader.events() == []
        writer.commit()
        assert len(reader.events()) == 1
    writer.close()


def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    writer.add_event(Event(t_s=0.0, kind="a", text=""))
    writer.add_observations([make_observation(0), make_observation(0)])
    with pytest.raises(JournalError, match="cannot write"):
        writer.commit()
    with JournalReader(writer.path) as reader:
        assert reader.events() == []
        assert list(reader.observations()) == []
    writer._db.close()


def test_a_commit_that_fails_for_any_reason_drops_nothing(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    writer.add_event(Event(t_s=0.0, kind="a", text=""))
    writer.set_meta("half", "\ud800")
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be stored"):
            writer.commit()
    assert not writer._db.in_transaction
    assert len(writer._pending) >= 2
    writer._db.close()


def test_commands_reach_the_runner_in_order_and_stay_as_the_audit_trail(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    send_command(writer.path, "fault", "engine.kill")
    send_command(writer.path, "stop")
    first, second = writer.take_commands(0)
    assert (first.kind, first.argument, second.kind) == ("fault", "engine.kill", "stop")
    assert writer.take_commands(first.id) == [second]
    writer.close()
    with JournalReader(writer.path) as reader:
        ((at, command), _) = reader.commands()
    assert command == first
    assert at.endswith("Z")


def test_the_consoles_commands_get_through_while_the_runner_writes(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    failures: list[Exception] = []

    def send() -> None:
        try:
            for _ in range(20):
                send_command(writer.path, "fault", "engine.kill")
        except Exception as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    seen, index = 0, 0
    while thread.is_alive() or seen < 20:
        writer.add_observations(make_observation(i) for i in range(index, index + 20))
        index += 20
        writer.commit()
        seen = len(writer.take_commands(0))
        if failures:
            break
    thread.join()
    writer.close()
    assert failures == []
    assert seen == 20


def test_what_was_committed_survives_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / RUN_ID / "journal.sqlite"
    program = f"""
import sys; sys.path.insert(0, {TESTS!r})
import os, signal
from pathlib import Path
from test_report_samples import make_document, make_observation
from scenarios.journal import JournalWriter
writer = JournalWriter(Path({str(path)!r}))
writer.set_run(make_document(state="running").run)
writer.add_observations(make_observation(i) for i in range(50))
writer.commit()
writer.add_observations(make_observation(i) for i in range(50, 99))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(TESTS).parents[1])
    assert done.returncode == -signal.SIGKILL
    with JournalReader(path) as reader:
        assert len(list(reader.observations())) == 50
        assert reader.run().state == "running"
        assert reader.document() is None


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with JournalReader(write_journal(tmp_path)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM event")


@pytest.mark.parametrize("content", [b"", b"no database at all, but a longer text than a page header needs" * 9])
def test_what_is_no_journal_is_refused_with_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        JournalReader(path)


def test_a_page_that_was_overwritten_is_said_and_not_a_traceback(tmp_path: Path) -> None:
    path = write_journal(tmp_path, make_document())
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(JournalError, match=r"damaged|not a readable"), JournalReader(path) as reader:
        list(reader.observations())


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM block",
        "UPDATE block SET body = 5",
        "UPDATE block SET body = x'00'",
        "UPDATE observation SET answer_block = 1",  # which holds requests
        "UPDATE tick SET body = 7",
        "UPDATE event SET body = substr(body, 2)",
        "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'fault.start', 'fault.st' || x'ff' || 'rt') AS BLOB)",
        "UPDATE stream SET event_ns = x'0102030405'",
        "UPDATE stream SET event_ns = 'late'",
        "UPDATE observation SET outcome = 'odd'",
    ],
)
def test_what_no_writer_has_written_is_said_and_not_a_traceback(damage: str, tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(damage).rowcount > 0
    with pytest.raises(JournalError, match=r"journal\.sqlite: the journal is damaged"):
        _read_all(path)


def _read_all(path: Path) -> None:
    with JournalReader(path) as reader:
        list(reader.plan())
        list(reader.observations())
        reader.ticks()
        reader.events()


def test_a_journal_whose_tables_have_no_readable_name_is_refused(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE judged (idx", b"CREATE \xff\xfe\xfdBLE judged (idx"))
    with pytest.raises(JournalError, match="not a readable journal"):
        JournalReader(path)


def test_a_whole_journal_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    path.with_name(path.name + "-shm").mkdir()  # as good as a read-only place, also for root
    with JournalReader(path) as reader:
        assert reader.run().id == RUN_ID


def test_a_journal_cut_off_from_its_log_is_refused_and_not_read_without_it(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    path.with_name(path.name + "-shm").mkdir()
    path.with_name(path.name + "-wal").write_bytes(b"rows that are not in the file yet")
    with pytest.raises(JournalError, match="not a readable journal"):
        JournalReader(path)


def test_a_writer_that_cannot_commit_still_lets_go_of_its_file(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / RUN_ID / "journal.sqlite")
    writer.add_observations([make_observation(0), make_observation(0)])
    with pytest.raises(JournalError, match="cannot write"):
        writer.close()
    with pytest.raises(JournalError, match="cannot read the commands"):
        writer.take_commands(0)


def test_a_command_to_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    sqlite3.connect(path).close()
    with pytest.raises(JournalError, match="cannot write a command"):
        send_command(path, "stop")


def test_a_missing_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal there"):
        JournalReader(tmp_path / "journal.sqlite")


def test_a_journal_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    db.commit()
    db.close()
    with pytest.raises(JournalError, match="format 99; this build reads format 3"):
        JournalReader(path)


def test_a_path_with_odd_characters_is_the_same_file(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "a b?c#d%20é")
    with JournalReader(path) as reader:
        assert reader.run().scenario == "peak-traffic"
