"""The journal: one SQLite file for each run, the spine between runner, console and reports.

The runner is the only writer of results (`JournalWriter`); the console writes nothing but commands (`send_command`);
everybody else reads (`JournalReader`). Write-ahead logging lets all of them work at once, and a committed row
survives the death of any of them, a full disk and a power cut.
"""

from __future__ import annotations

from scenarios.journal.commands import Command, send_command
from scenarios.journal.database import FILE_NAME, FORMAT
from scenarios.journal.reader import JournalReader
from scenarios.journal.writer import PATIENCE_S, Answers, JournalWriter

__all__ = [
    "FILE_NAME",
    "FORMAT",
    "PATIENCE_S",
    "Answers",
    "Command",
    "JournalReader",
    "JournalWriter",
    "send_command",
]
