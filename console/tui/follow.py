"""Follows one journal: a thread reads what is new four times a second and folds it into one snapshot."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from console.liveness import is_alive
from console.tui import clean
from console.tui.snapshot import Band, Flag, Phase, Point, Snapshot, extend, mark_active, mark_event, phase_of
from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.observation import Finding
from scenarios.result import ResultDocument, RunInfo
from scenarios.runs import list_runs
from scenarios.tick import Event, Tick

PERIOD_S = 0.25
QUIET_S = 3.0  # without a tick for longer than this, the console says so and looks after the runner
PATIENCE_S = 20.0  # how long a run that was just launched may take to write its journal
EVENTS = 200
FLAGS = 40

UNREADABLE = (JournalError, sqlite3.Error, msgspec.MsgspecError, OSError)


class Follower:
    """All that is known of one run, brought up to date by `read`. Use it from one thread only."""

    def __init__(
        self,
        path: Path,
        *,
        patience_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        alive: Callable[[Path], bool] = is_alive,
    ) -> None:
        self.path = path
        self._monotonic = monotonic
        self._alive = alive
        self._since = monotonic()
        self._patience_s = patience_s
        self._reader: JournalReader | None = None
        self._news = self._since  # when something new was last read
        self._tick_seq = 0
        self._event_id = 0
        self._points: list[Point] = []
        self._bands: dict[int, Band] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._due: dict[int, float | None] = {}
        self._snapshot = Snapshot(run_id=clean.text(path.parent.name), phase=Phase.OPENING)

    def read(self) -> Snapshot:
        """The newest state; the very same object when nothing has changed."""
        try:
            if self._reader is None:
                self._reader = JournalReader(self.path)
            self._snapshot = self._fold(self._reader)
        except UNREADABLE as error:
            self.close()
            waiting = self._tick_seq == 0 and self._monotonic() - self._since < self._patience_s
            phase = Phase.OPENING if waiting else Phase.UNREADABLE
            problem = "" if waiting else clean.text(str(error))
            if (self._snapshot.phase, self._snapshot.problem) != (phase, problem):
                self._snapshot = replace(self._snapshot, phase=phase, problem=problem)
        return self._snapshot

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _fold(self, reader: JournalReader) -> Snapshot:
        old = self._snapshot
        ticks, events = reader.ticks(self._tick_seq), reader.events(self._event_id)
        run = self._run(reader)
        document = old.document
        if document is None and (not ticks or ticks[-1][1].state in ("judging", "done")):
            document = _document(reader)
        tick, flags = old.tick, old.flags
        if ticks or events:
            self._news = self._monotonic()
        if ticks:
            self._tick_seq, newest = ticks[-1]
            extend(self._points, (tick for _, tick in ticks))
            for _, each in ticks:
                mark_active(self._bands, clean.record(each.faults), each.t_s)
            tick = clean.record(newest)
        if ticks or document is not old.document:
            flags = tuple(self._flag(reader, finding) for finding in reader.newest_findings(FLAGS))
        for self._event_id, event in events:
            self._events.append(clean.record(event))
            mark_event(self._bands, self._events[-1])
        phase, quiet_s = self._phase(reader, run, tick, document)
        if (
            not ticks
            and not events
            and (run, document, phase, quiet_s)
            == (
                old.run,
                old.document,
                old.phase,
                old.quiet_s,
            )
        ):
            return old
        return Snapshot(
            run_id=old.run_id,
            phase=phase,
            run=run,
            tick=tick,
            points=tuple(self._points) if ticks else old.points,
            bands=tuple(self._bands.values()),
            events=tuple(self._events) if events else old.events,
            flags=flags,
            document=document,
            quiet_s=quiet_s,
        )

    def _run(self, reader: JournalReader) -> RunInfo | None:
        return None if reader.meta("run") is None else clean.record(reader.run())

    def _phase(
        self, reader: JournalReader, run: RunInfo | None, tick: Tick | None, document: ResultDocument | None
    ) -> tuple[Phase, int]:
        phase = phase_of(run, tick, document is not None)
        quiet = self._monotonic() - self._news
        if not phase.live or quiet <= QUIET_S:
            return phase, 0
        has_begun = reader.meta("runner_pid") is not None
        if (phase is Phase.STOPPING or has_begun) and not self._alive(self.path):
            return Phase.INTERRUPTED if phase is Phase.STOPPING else Phase.GONE, 0
        return phase, int(quiet)

    def _flag(self, reader: JournalReader, finding: Finding) -> Flag:
        if finding.index not in self._due:
            if len(self._due) > 8 * FLAGS:
                self._due.clear()
            request = reader.request(finding.index)
            self._due[finding.index] = None if request is None else request.due_ns / 1e9
        return clean.record(
            Flag(self._due[finding.index], finding.category, finding.severity, finding.where, finding.excerpt)
        )


def _document(reader: JournalReader) -> ResultDocument | None:
    document = reader.document()
    return None if document is None else clean.record(document)


class Following(threading.Thread):
    """The thread that reads a journal and hands every new snapshot to `deliver`, until it is told to stop."""

    def __init__(self, follower: Callable[[], Follower], deliver: Callable[[Snapshot], None]) -> None:
        super().__init__(name="seatrial-follow", daemon=True)
        self._make = follower
        self._deliver = deliver
        self._ended = threading.Event()

    def run(self) -> None:
        follower = self._make()
        shown: Snapshot | None = None
        try:
            while not self._ended.is_set():
                snapshot = follower.read()
                if snapshot is not shown:
                    self._deliver(snapshot)
                    shown = snapshot
                self._ended.wait(PERIOD_S)
        finally:
            follower.close()

    def stop(self) -> None:
        """Ask it to end; it does within one period and touches nothing after that."""
        self._ended.set()


def newest_running(runs_dir: Path) -> Path | None:
    """The journal of the newest run whose runner is at work; None when there is none."""
    for entry in list_runs(runs_dir):
        if entry.info is None or entry.info.state != "running" or entry.document is not None:
            continue
        with suppress(*UNREADABLE):
            if is_alive(entry.path):
                return entry.path
    return None
