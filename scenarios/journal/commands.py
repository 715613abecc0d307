"""What an operator asks of a run: the only rows that the console writes."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec

from scenarios.errors import JournalError
from scenarios.journal.database import connect


class Command(msgspec.Struct, frozen=True):
    """What an operator asked for: `kind` is "stop" or "fault" (argument: fault kind)."""

    id: int
    kind: str
    argument: str


def send_command(path: Path, kind: str, argument: str = "") -> int:
    """Ask the run behind the journal at `path` for something; the row stays as the audit trail, under that number."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with closing(connect(path, "rw")) as db:
            row = (now, kind, argument)
            added = db.execute("INSERT INTO command (sent_at, kind, argument) VALUES (?, ?, ?)", row)
            return added.lastrowid or 0
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path}: cannot write a command ({error})") from error
