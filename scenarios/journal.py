"""The journal: one SQLite file for each run, the spine between runner, console and reports.

The runner is the only writer of results (`JournalWriter`); the console writes nothing but commands (`send_command`);
everybody else reads (`JournalReader`). Write-ahead logging lets all of them work at once, and a committed row
survives the death of any of them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from scenarios.errors import JournalError
from scenarios.observation import Finding, Judged, Observation
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, RunInfo
from scenarios.tick import Event, Tick

FORMAT = 1
FILE_NAME = "journal.sqlite"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE plan (idx INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE observation (idx INTEGER PRIMARY KEY, outcome TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE judged (idx INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE finding (id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, category TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE tick (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE command (id INTEGER PRIMARY KEY, sent_at TEXT NOT NULL, kind TEXT NOT NULL, argument TEXT NOT NULL);
"""


class Command(msgspec.Struct, frozen=True):
    """What an operator asked for: `kind` is "stop" or "fault" (argument: fault kind)."""

    id: int
    kind: str
    argument: str


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=5.0)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, also where nobody can.

    Write-ahead logging wants a `-shm` file beside the journal even to read it. Where none can be made, a journal
    without a `-wal` is whole and cannot change, and is read as it lies there.
    """
    try:
        return _connect(path, "ro")
    except sqlite3.OperationalError as error:
        nowhere_to_write = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not nowhere_to_write or path.with_name(path.name + "-wal").exists():
            raise
        return _connect(path, "ro&immutable=1")


def _create(path: Path) -> None:
    """An empty journal under its name at once, complete: a reader never meets half of one."""
    draft = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        try:
            db = _connect(draft, "rw")
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
            finally:
                db.close()
            os.link(draft, path)
        finally:
            draft.unlink()
    except FileExistsError as error:
        raise JournalError(f"{path}: there is a journal already; a run never overwrites one") from error
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path}: cannot make a journal there ({error}); choose another --runs-dir") from error


class JournalWriter:
    """The runner's side. Rows gather in memory until `commit` writes them in one short transaction.

    So the write lock is held for milliseconds, the console's commands get through, and a crash loses only what came
    since the last commit: call it at least once a second.
    """

    def __init__(self, path: Path) -> None:
        _create(path)
        self.path = path
        self._db = _connect(path, "rw")
        self._encode = msgspec.msgpack.Encoder().encode
        self._pending: list[tuple[str, list[tuple[object, ...]]]] = []

    def set_meta(self, key: str, value: str) -> None:
        self._pending.append(("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, value)]))

    def set_run(self, run: RunInfo) -> None:
        """Identity and state of the run; written at the start and again whenever its state changes."""
        self.set_meta("run", msgspec.json.encode(run).decode())

    def add_plan(self, requests: Iterable[PlannedRequest]) -> None:
        self._pending.append(("INSERT INTO plan VALUES (?, ?)", [(r.index, self._encode(r)) for r in requests]))

    def add_observations(self, observations: Iterable[Observation]) -> None:
        rows: list[tuple[object, ...]] = [(o.index, o.outcome.value, self._encode(o)) for o in observations]
        self._pending.append(("INSERT INTO observation VALUES (?, ?, ?)", rows))

    def add_judged(self, judged: Iterable[Judged]) -> None:
        self._pending.append(("INSERT INTO judged VALUES (?, ?)", [(j.index, self._encode(j)) for j in judged]))

    def add_findings(self, findings: Iterable[Finding]) -> None:
        rows: list[tuple[object, ...]] = [(f.index, f.category, self._encode(f)) for f in findings]
        self._pending.append(("INSERT INTO finding (idx, category, body) VALUES (?, ?, ?)", rows))

    def add_tick(self, tick: Tick) -> None:
        self._pending.append(("INSERT INTO tick (body) VALUES (?)", [(self._encode(tick),)]))

    def add_event(self, event: Event) -> None:
        self._pending.append(("INSERT INTO event (body) VALUES (?)", [(self._encode(event),)]))

    def set_document(self, document: ResultDocument) -> None:
        self.set_meta("document", msgspec.json.encode(document).decode())

    def take_commands(self, after: int) -> list[Command]:
        """Commands with an id above `after`, oldest first."""
        query = "SELECT id, kind, argument FROM command WHERE id > ? ORDER BY id"
        try:
            rows = self._db.execute(query, (after,)).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the commands in the journal ({error})") from error
        return [Command(*row) for row in rows]

    def commit(self) -> None:
        """Write everything gathered so far, all of it or nothing.

        Raises JournalError; what was gathered is kept then, and tried again by the next commit.
        """
        if not self._pending:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, rows in self._pending:
                self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JournalError(f"{self.path}: cannot write the journal ({error}); is the disk full?") from error
        self._pending.clear()

    def close(self) -> None:
        """Commit what is left and let go of the file, also where that commit fails."""
        try:
            self.commit()
        finally:
            self._db.close()


class JournalReader:
    """A reader's side; opens an existing journal, also while the run writes it, and never changes it.

    As a context manager it turns what a damaged journal makes its readers raise into a JournalError.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalError(f"{path}: no journal there; `seatrial runs` lists the runs")
        self.path = path
        try:
            self._db = _connect_reader(path)
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path}: not a readable journal ({error})") from error
        try:
            version = self.meta("format")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise JournalError(f"{path}: not a readable journal ({error})") from error
        if version != str(FORMAT):
            self._db.close()
            raise JournalError(f"{path}: journal format {version or 'unknown'}; this build reads format {FORMAT}")

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.close()
        if isinstance(error, sqlite3.DatabaseError | msgspec.MsgspecError):
            raise JournalError(f"{self.path}: the journal is damaged ({error})") from error

    def close(self) -> None:
        self._db.close()

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def run(self) -> RunInfo:
        text = self.meta("run")
        if text is None:
            raise JournalError(f"{self.path}: the run died before it wrote what it is")
        return msgspec.json.decode(text, type=RunInfo)

    def document(self) -> ResultDocument | None:
        """The verdict's document; None while the run goes on or when it died."""
        text = self.meta("document")
        return None if text is None else msgspec.json.decode(text, type=ResultDocument)

    def plan(self) -> Iterator[PlannedRequest]:
        decode = msgspec.msgpack.Decoder(PlannedRequest).decode
        return (decode(body) for (body,) in self._db.execute("SELECT body FROM plan ORDER BY idx"))

    def observations(self) -> Iterator[Observation]:
        decode = msgspec.msgpack.Decoder(Observation).decode
        return (decode(body) for (body,) in self._db.execute("SELECT body FROM observation ORDER BY idx"))

    def request(self, index: int) -> PlannedRequest | None:
        row = self._db.execute("SELECT body FROM plan WHERE idx = ?", (index,)).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=PlannedRequest)

    def observation(self, index: int) -> Observation | None:
        row = self._db.execute("SELECT body FROM observation WHERE idx = ?", (index,)).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=Observation)

    def judged(self) -> Iterator[Judged]:
        decode = msgspec.msgpack.Decoder(Judged).decode
        return (decode(body) for (body,) in self._db.execute("SELECT body FROM judged ORDER BY idx"))

    def findings(self) -> Iterator[Finding]:
        decode = msgspec.msgpack.Decoder(Finding).decode
        return (decode(body) for (body,) in self._db.execute("SELECT body FROM finding ORDER BY id"))

    def newest_findings(self, limit: int) -> list[Finding]:
        """The last `limit` findings, newest first."""
        rows = self._db.execute("SELECT body FROM finding ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        return [msgspec.msgpack.decode(body, type=Finding) for (body,) in rows]

    def ticks(self, after: int = 0) -> list[tuple[int, Tick]]:
        """Ticks with a sequence number above `after`, oldest first."""
        decode = msgspec.msgpack.Decoder(Tick).decode
        rows = self._db.execute("SELECT seq, body FROM tick WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return [(seq, decode(body)) for seq, body in rows]

    def last_tick(self) -> Tick | None:
        row = self._db.execute("SELECT body FROM tick ORDER BY seq DESC LIMIT 1").fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=Tick)

    def events(self, after: int = 0) -> list[tuple[int, Event]]:
        """Events with an id above `after`, oldest first."""
        decode = msgspec.msgpack.Decoder(Event).decode
        rows = self._db.execute("SELECT id, body FROM event WHERE id > ? ORDER BY id", (after,)).fetchall()
        return [(number, decode(body)) for number, body in rows]

    def commands(self) -> list[tuple[str, Command]]:
        """Every operator command with the wall time at which it was given: the audit trail."""
        rows = self._db.execute("SELECT sent_at, id, kind, argument FROM command ORDER BY id").fetchall()
        return [(sent_at, Command(*rest)) for sent_at, *rest in rows]


def send_command(path: Path, kind: str, argument: str = "") -> None:
    """Ask the run behind the journal at `path` for something; the row stays as the audit trail."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with closing(_connect(path, "rw")) as db:
            db.execute("INSERT INTO command (sent_at, kind, argument) VALUES (?, ?, ?)", (now, kind, argument))
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path}: cannot write a command ({error})") from error
