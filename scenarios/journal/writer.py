"""The runner's side of the journal."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from scenarios.definition import Keep
from scenarios.errors import JournalError
from scenarios.journal.commands import Command
from scenarios.journal.database import connect, create
from scenarios.journal.packing import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    answer_bytes,
    packed_answers,
    packed_requests,
    packed_times,
)
from scenarios.journal.rows import (
    Row,
    finding_row,
    observation_row,
    plan_row,
    redacted_error,
    redacted_request,
)
from scenarios.observation import Finding, Judged, Observation
from scenarios.request import PlannedRequest
from scenarios.result import ResultDocument, RunInfo
from scenarios.tick import Event, Tick

LONGEST_ANSWER_BYTES = 1 << 18
ANSWERS = "answers"  # key in the meta table

_BLOCK = "INSERT INTO block VALUES (?, ?)"
_PLAN = "INSERT INTO plan VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OBSERVATION = f"INSERT INTO observation VALUES ({', '.join('?' * 21)})"
_STREAM = "INSERT INTO stream VALUES (?, ?, ?)"
_JUDGED = "INSERT INTO judged VALUES (?, ?)"
_FINDING = f"INSERT INTO finding VALUES (NULL, {', '.join('?' * 8)})"


class Answers(msgspec.Struct):
    """What became of the answers' texts: `kept` in full, `cut` at their bound, `dropped` beyond the bound of all.

    `bytes`: what the kept ones take, compressed.
    """

    kept: int = 0
    cut: int = 0
    dropped: int = 0
    bytes: int = 0


class JournalWriter:
    """Rows gather in memory until `commit` writes them in one short transaction.

    So the write lock is held for milliseconds, the console's commands get through, and a crash loses only what came
    since the last commit: call it four times a second. `commit` may be called from another thread.
    """

    def __init__(self, path: Path, keep: Keep | None = None) -> None:
        """A new journal; `keep`: which texts go into it. Raises JournalError where there is one already."""
        create(path)
        self._open(path, keep or Keep(), Answers(), next_block=1)

    @classmethod
    def reopen(cls, path: Path, keep: Keep) -> JournalWriter:
        """The journal of a run that goes on where it ended. Raises JournalError."""
        try:
            db = connect(path, "rw")
            (last,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM block").fetchone()
            row = db.execute("SELECT value FROM meta WHERE key = ?", (ANSWERS,)).fetchone()
            db.close()
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot open the journal to write ({error})") from error
        writer = cls.__new__(cls)
        writer._open(path, keep, msgspec.json.decode(row[0], type=Answers) if row else Answers(), last + 1)
        return writer

    def _open(self, path: Path, keep: Keep, answers: Answers, next_block: int) -> None:
        self.path = path
        self.answers = answers
        self._keep = keep
        self._db = connect(path, "rw")
        self._encode = msgspec.msgpack.Encoder().encode
        self._pending: list[tuple[str, Sequence[Row]]] = []
        self._next_block = next_block
        self._answers: dict[int, bytes] = {}  # those of the block that fills up
        self._answers_bytes = 0
        self._answers_block = 0
        self._writing = threading.Lock()  # one transaction at a time
        self._gathering = threading.RLock()  # the rows in memory

    @property
    def redacts_answers(self) -> bool:
        """Whether no word of an answer is kept."""
        return self._keep.answers_bytes == 0

    def set_meta(self, key: str, value: str) -> None:
        self._add("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, value)])

    def set_run(self, run: RunInfo) -> None:
        """Identity and state of the run; written at the start and again whenever its state changes."""
        self.set_meta("run", msgspec.json.encode(run).decode())

    def add_plan(self, requests: Iterable[PlannedRequest]) -> None:
        """Planned requests, with indexes that the journal does not have yet; also while the run goes on."""
        block: list[PlannedRequest] = []
        size = 0
        for request in requests:
            block.append(request if self._keep.prompts else redacted_request(request))
            size += len(request.body) + len(request.raw) + len(request.prompt_text)
            if len(block) == BLOCK_ROWS or size >= BLOCK_BYTES:
                self._add_plan_block(block)
                block, size = [], 0
        if block:
            self._add_plan_block(block)

    def _add_plan_block(self, requests: list[PlannedRequest]) -> None:
        packed = packed_requests(requests)
        with self._gathering:
            number = self._take_block()
            self._add(_BLOCK, [(number, packed)])
            self._add(_PLAN, [plan_row(request, number) for request in requests])

    def add_observations(self, observations: Iterable[Observation]) -> None:
        redacts = self.redacts_answers or not self._keep.prompts
        with self._gathering:
            rows: list[Row] = []
            streams: list[Row] = []
            for o in observations:
                digest, block = self._keep_answer(o) if o.answer else (None, None)
                rows.append(observation_row(o, redacted_error(o) if redacts else o.error, len(o.answer), digest, block))
                if o.event_ns:
                    streams.append((o.index, len(o.event_ns), packed_times(o.event_ns)))
            self._add(_OBSERVATION, rows)
            if streams:
                self._add(_STREAM, streams)

    def _keep_answer(self, observation: Observation) -> tuple[bytes | None, int | None]:
        """(hash, block) of an answer's text: the one where it is not kept on purpose, the other where it is kept."""
        data = answer_bytes(observation.answer)
        if self.redacts_answers:
            return hashlib.sha256(data).digest(), None
        if self.answers.bytes >= self._keep.answers_bytes:
            self.answers.dropped += 1
            return None, None
        if len(data) > LONGEST_ANSWER_BYTES:
            data = answer_bytes(data[:LONGEST_ANSWER_BYTES].decode("utf-8", "ignore"))
            self.answers.cut += 1
        else:
            self.answers.kept += 1
        if not self._answers:
            self._answers_block = self._take_block()
        block = self._answers_block
        self._answers[observation.index] = data
        self._answers_bytes += len(data)
        if len(self._answers) >= BLOCK_ROWS or self._answers_bytes >= BLOCK_BYTES:
            self._close_answers()
        return None, block

    def _close_answers(self) -> None:
        if self._answers:
            packed = packed_answers(self._answers)
            self.answers.bytes += len(packed)
            self._add(_BLOCK, [(self._answers_block, packed)])
            self._answers, self._answers_bytes = {}, 0

    def _take_block(self) -> int:
        self._next_block += 1
        return self._next_block - 1

    def add_judged(self, judged: Iterable[Judged]) -> None:
        """What was judged; one with nothing to say leaves no row."""
        self._add(_JUDGED, [(one.index, one.correct) for one in judged if one.correct is not None])

    def add_findings(self, findings: Iterable[Finding]) -> None:
        self._add(_FINDING, [finding_row(finding, self.redacts_answers) for finding in findings])

    def add_tick(self, tick: Tick) -> None:
        self._add("INSERT INTO tick (body) VALUES (?)", [(self._encode(tick),)])

    def add_event(self, event: Event) -> None:
        self._add("INSERT INTO event (body) VALUES (?)", [(self._encode(event),)])

    def set_document(self, document: ResultDocument) -> None:
        self.set_meta("document", msgspec.json.encode(document).decode())

    def forget_end(self) -> None:
        """Take back what an early end left behind, in the next commit: the document, and every `unsent`."""
        self._add("DELETE FROM meta WHERE key = ?", [("document",)])
        self._add("DELETE FROM judged WHERE idx IN (SELECT idx FROM observation WHERE outcome = ?)", [("unsent",)])
        self._add("DELETE FROM observation WHERE outcome = ?", [("unsent",)])

    def take_commands(self, after: int) -> list[Command]:
        """Commands with an id above `after`, oldest first."""
        query = "SELECT id, kind, argument FROM command WHERE id > ? ORDER BY id"
        try:
            with self._writing:
                rows = self._db.execute(query, (after,)).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the commands in the journal ({error})") from error
        return [Command(*row) for row in rows]

    def _add(self, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            with self._gathering:
                self._pending.append((statement, rows))

    def commit(self) -> None:
        """Write everything gathered so far, all of it or nothing.

        Raises JournalError; what was gathered is kept then, and tried again by the next commit.
        """
        with self._writing:
            with self._gathering:
                if not self._pending:
                    return
                self._close_answers()
                self.set_meta(ANSWERS, msgspec.json.encode(self.answers).decode())
                pending, self._pending = self._pending, []
            try:
                self._db.execute("BEGIN IMMEDIATE")
                for statement, rows in pending:
                    self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except Exception as error:  # a number too large, half a character: not only what the database raises
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                with self._gathering:
                    self._pending = pending + self._pending
                hint = "is the disk full?" if isinstance(error, sqlite3.Error) else "a value cannot be stored"
                raise JournalError(f"{self.path}: cannot write the journal ({error}); {hint}") from error

    def close(self) -> None:
        """Commit what is left and let go of the file, also where that commit fails."""
        try:
            self.commit()
        finally:
            with self._writing:
                self._db.close()
