"""What a power cut between two commits may leave of a journal's two files, by what SQLite synced before what.

The model is that of https://www.sqlite.org/wal.html and of "synchronous = FULL": a commit's log is synced before it
returns; the log is synced before any page of it goes into the database, the database before the log starts anew. So
between two states of the files, taken right after a commit each, the disk holds either the older database with some
sectors of the newer log, in any order and cut anywhere, or the whole newer log with some pages of the newer database.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
PAGE = 4096


class Frozen(NamedTuple):
    """The bytes of a journal at one moment; without the -shm file, which SQLite makes anew."""

    database: bytes
    log: bytes

    @classmethod
    def of(cls, path: Path) -> Frozen:
        """The files of the journal at `path`, which nobody writes at this moment."""
        log = path.with_name(path.name + "-wal")
        return cls(path.read_bytes(), log.read_bytes() if log.exists() else b"")

    def thaw(self, folder: Path) -> Path:
        """As files in a new folder; the journal's path."""
        folder.mkdir()
        path = folder / "journal.sqlite"
        path.write_bytes(self.database)
        path.with_name(path.name + "-wal").write_bytes(self.log)
        return path


def after_power_cuts(before: Frozen, after: Frozen, draw: random.Random, number: int) -> Iterator[Frozen]:
    """`number` states that a cut between the two may leave, and as many more where the database was written."""
    for _ in range(number):
        log = _mixed(before.log, after.log, SECTOR, draw)
        grown = len(after.log) - len(before.log)
        if grown > 0:
            log = log[: len(before.log) + draw.randrange(grown + 1)]
        yield Frozen(before.database, log)
        if before.database != after.database:
            yield Frozen(_mixed(before.database, after.database, PAGE, draw), after.log)


def _mixed(old: bytes, new: bytes, piece: int, draw: random.Random) -> bytes:
    """Each piece of the newer bytes, of the older ones, or of neither where the older ones end before it."""
    share = draw.random()
    pieces = []
    for at in range(0, max(len(old), len(new)), piece):
        was, now = old[at : at + piece], new[at : at + piece]
        if was == now or draw.random() < share:
            pieces.append(now)
        else:
            beyond = max(0, len(now) - len(was))
            pieces.append(was + draw.choice((bytes(beyond), draw.randbytes(beyond))))
    return b"".join(pieces)
