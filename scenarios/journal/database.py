"""The file behind a journal: its tables, how it is made, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from scenarios.errors import JournalError

FORMAT = 3
FILE_NAME = "journal.sqlite"

# What is asked of a million rows at once is a column; what is asked of one request at a time is packed.
# block: many requests, or many answers, compressed together. Their rows say which block they are in.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE block (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE plan (
    idx INTEGER PRIMARY KEY, due_ns INTEGER NOT NULL, after_idx INTEGER, think_s REAL NOT NULL, profile TEXT NOT NULL,
    era TEXT NOT NULL, hangs_up INTEGER NOT NULL, block INTEGER NOT NULL);
CREATE TABLE observation (
    idx INTEGER PRIMARY KEY, outcome TEXT NOT NULL, due_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, sent_ns INTEGER,
    first_ns INTEGER, answer_ns INTEGER, last_ns INTEGER, status INTEGER, prompt_tokens INTEGER,
    completion_tokens INTEGER, finish_reason TEXT NOT NULL, retry_after_s REAL, worker INTEGER NOT NULL,
    attempts INTEGER NOT NULL, begun INTEGER NOT NULL, fingerprint TEXT NOT NULL, error TEXT NOT NULL,
    answer_chars INTEGER NOT NULL, answer_sha256 BLOB, answer_block INTEGER);
CREATE TABLE stream (idx INTEGER PRIMARY KEY, events INTEGER NOT NULL, event_ns BLOB NOT NULL);
CREATE TABLE judged (idx INTEGER PRIMARY KEY, correct INTEGER NOT NULL);
CREATE TABLE finding (
    id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, category TEXT NOT NULL, severity TEXT NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, detector TEXT NOT NULL, place TEXT NOT NULL, excerpt TEXT NOT NULL);
CREATE TABLE tick (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE command (id INTEGER PRIMARY KEY, sent_at TEXT NOT NULL, kind TEXT NOT NULL, argument TEXT NOT NULL);
"""


def cannot_grow(error: Exception) -> bool:
    """Whether the file system took no more: it is full, or a quota or a limit of the process is reached (EFBIG)."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that several threads may use, one at a time."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")  # a power cut takes nothing that was committed; 0.3 ms each
    except sqlite3.Error:
        connection.close()
        raise
    except UnicodeDecodeError as error:  # its tables are described in words that are none
        connection.close()
        raise sqlite3.DatabaseError(str(error)) from error
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, also where nobody can.

    Write-ahead logging wants a `-shm` file beside the journal even to read it. Where none can be made, a journal
    without a `-wal` is whole and cannot change, and is read as it lies there.
    """
    try:
        return connect(path, "ro")
    except sqlite3.OperationalError as error:
        nowhere_to_write = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not nowhere_to_write or path.with_name(path.name + "-wal").exists():
            raise
        return connect(path, "ro&immutable=1")


def create(path: Path) -> None:
    """An empty journal under its name at once, complete: a reader never meets half of one. Raises JournalError."""
    draft = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        try:
            db = connect(draft, "rw")
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
            finally:
                db.close()
            os.link(draft, path)
        finally:
            for name in (draft.name, f"{draft.name}-wal", f"{draft.name}-shm"):  # the last two where it was not closed
                draft.with_name(name).unlink(missing_ok=True)
    except FileExistsError as error:
        raise JournalError(f"{path}: there is a journal already; a run never overwrites one") from error
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path}: cannot make a journal there ({error}); choose another --runs-dir") from error
