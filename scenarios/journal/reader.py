"""A reader's side of the journal."""

from __future__ import annotations

import math
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from scenarios.errors import JournalError
from scenarios.journal.commands import Command
from scenarios.journal.database import FORMAT, connect_reader
from scenarios.journal.packing import answers_in, requests_in, times_in
from scenarios.journal.rows import PLAIN, Row, finding_of, observation_of
from scenarios.journal.writer import ANSWERS, Answers
from scenarios.observation import Finding, Judged, Observation
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, RunInfo
from scenarios.tick import Event, Tick

_T = TypeVar("_T")

MOST_TICKS = 100_000  # seven hours at four a second
_BLOCKS_KEPT = 16
_NAMES = ", ".join(f"o.{'idx' if name == 'index' else name}" for name in PLAIN)
_OBSERVATIONS = f"SELECT {_NAMES}, answer_block, events, event_ns FROM observation o LEFT JOIN stream s USING (idx)"
_FINDINGS = "SELECT idx, category, severity, start, stop, detector, place, excerpt FROM finding"


def _damaged(path: Path, what: str) -> JournalError:
    """The error of a journal that holds what no writer has put there."""
    return JournalError(f"{path}: the journal is damaged ({what})")


def _bytes_of(value: object) -> bytes:
    """What a column of bytes holds; no bytes, which nothing can be read from, where it holds something else."""
    return value if isinstance(value, bytes) else b""


class _Blocks:
    """What blocks hold, the last few kept unpacked: rows that are read one after the other are in the same ones."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._kept: OrderedDict[int, object] = OrderedDict()

    def get(self, number: int, index: int, unpack: Callable[[bytes], dict[int, _T]]) -> _T:
        """What the block has under that index. Raises JournalError."""
        block: dict[int, _T] | None = self._kept.get(number)  # type: ignore[assignment]  # never unpacked in two ways
        if block is None:
            row = self._db.execute("SELECT body FROM block WHERE id = ?", (number,)).fetchone()
            block = {} if row is None else unpack(_bytes_of(row[0]))
            self._kept[number] = block
            if len(self._kept) > _BLOCKS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        if index not in block:
            raise _damaged(self._path, f"block {number} has no text of request {index}")
        return block[index]


class JournalReader:
    """Opens an existing journal, also while the run writes it, and never changes it.

    As a context manager it turns what a damaged journal makes its readers raise into a JournalError.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalError(f"{path}: no journal there; `seatrial runs` lists the runs")
        self.path = path
        try:
            self._db = connect_reader(path)
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path}: not a readable journal ({error})") from error
        try:
            version = self.meta("format")
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._db.close()
            raise JournalError(f"{path}: not a readable journal ({error})") from error
        if version != str(FORMAT):
            self._db.close()
            what = f"{path}: journal format {version or 'unknown'}; this build reads format {FORMAT}"
            raise JournalError(f"{what}: read it with the build that wrote it")
        self._blocks = _Blocks(self._db, path)

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.close()
        if isinstance(error, sqlite3.DatabaseError | msgspec.MsgspecError | zlib.error | UnicodeDecodeError):
            raise _damaged(self.path, str(error)) from error

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

    def answers(self) -> Answers:
        """How many answers' texts were kept."""
        text = self.meta(ANSWERS)
        return Answers() if text is None else msgspec.json.decode(text, type=Answers)

    # ---- one request at a time

    def plan(self) -> Iterator[PlannedRequest]:
        """Every planned request by index; without what it said where that is redacted."""
        for index, block in self._db.execute("SELECT idx, block FROM plan ORDER BY idx"):
            yield self._blocks.get(block, index, requests_in)

    def request(self, index: int) -> PlannedRequest | None:
        row = self._db.execute("SELECT block FROM plan WHERE idx = ?", (index,)).fetchone()
        return None if row is None else self._blocks.get(row[0], index, requests_in)

    def observations(self, order: str = "idx") -> Iterator[Observation]:
        """Every observation by index, or in the `order` of another column ("end_ns")."""
        return map(self._observation, self._db.execute(f"{_OBSERVATIONS} ORDER BY o.{order}"))

    def observation(self, index: int) -> Observation | None:
        """The answer is empty where its text was not kept, shorter where it was cut."""
        row = self._db.execute(f"{_OBSERVATIONS} WHERE o.idx = ?", (index,)).fetchone()
        return None if row is None else self._observation(row)

    def _observation(self, row: Row) -> Observation:
        *plain, block, count, times = row
        answer = "" if block is None else self._blocks.get(block, plain[0], answers_in)
        try:
            return observation_of(plain, () if times is None else times_in(times, count), answer)
        except (TypeError, ValueError) as error:
            raise _damaged(self.path, f"the times of request {plain[0]}: {error}") from error

    def judged(self) -> Iterator[Judged]:
        """Those with something to say, by index."""
        rows = self._db.execute("SELECT idx, correct FROM judged ORDER BY idx")
        return (Judged(index=index, correct=bool(correct)) for index, correct in rows)

    def findings(self) -> Iterator[Finding]:
        return map(finding_of, self._db.execute(f"{_FINDINGS} ORDER BY id"))

    def newest_findings(self, limit: int) -> list[Finding]:
        """The last `limit` findings, newest first."""
        return list(map(finding_of, self._db.execute(f"{_FINDINGS} ORDER BY id DESC LIMIT ?", (limit,))))

    # ---- many rows at once

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Everything read in it is of one moment, whatever is written meanwhile; not to be nested."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def count(self, table: str, where: str = "TRUE") -> int:
        """How many rows of a table there are; `where` is a condition on its columns."""
        (found,) = self._db.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()
        return int(found)

    def total(self, what: str, table: str) -> int:
        """The sum of an expression over a table's rows."""
        (found,) = self._db.execute(f"SELECT COALESCE(SUM({what}), 0) FROM {table}").fetchone()
        return int(found)

    def blocks_of(self, query: str, size: int = 4_096) -> Iterator[list[Row]]:
        """The rows of a query over the journal's tables, `size` at a time."""
        cursor = self._db.execute(query)
        while rows := cursor.fetchmany(size):
            yield rows

    # ---- the run as it went

    def ticks(self, after: int = 0, limit: int = MOST_TICKS) -> list[tuple[int, Tick]]:
        """The newest `limit` ticks with a sequence number above `after`, oldest first."""
        decode = msgspec.msgpack.Decoder(Tick).decode
        query = "SELECT seq, body FROM tick WHERE seq > ? ORDER BY seq DESC LIMIT ?"
        rows = self._db.execute(query, (after, limit)).fetchall()
        return [(seq, decode(_bytes_of(body))) for seq, body in reversed(rows)]

    def last_tick(self, until_s: float = math.inf) -> Tick | None:
        """The newest tick of those until then."""
        decode = msgspec.msgpack.Decoder(Tick).decode
        newest_first = (
            decode(_bytes_of(body)) for (body,) in self._db.execute("SELECT body FROM tick ORDER BY seq DESC")
        )
        return next((tick for tick in newest_first if tick.t_s <= until_s), None)

    def events(self, after: int = 0) -> list[tuple[int, Event]]:
        """Events with an id above `after`, oldest first."""
        decode = msgspec.msgpack.Decoder(Event).decode
        rows = self._db.execute("SELECT id, body FROM event WHERE id > ? ORDER BY id", (after,)).fetchall()
        return [(number, decode(_bytes_of(body))) for number, body in rows]

    def commands(self) -> list[tuple[str, Command]]:
        """Every operator command with the wall time at which it was given: the audit trail."""
        rows = self._db.execute("SELECT sent_at, id, kind, argument FROM command ORDER BY id").fetchall()
        return [(sent_at, Command(*rest)) for sent_at, *rest in rows]
