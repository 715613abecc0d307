"""The run's own journal as it is written: what the run is, what happens in it, how it stands four times a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from engine.telemetry import describe_machine
from scenarios.journal import PATIENCE_S, JournalWriter
from scenarios.rebuild import SCENARIO
from scenarios.result import RunInfo
from scenarios.runner.options import RunOptions, means_of
from scenarios.runner.target import Target
from scenarios.tick import Event, FaultMark, Tick
from scenarios.wall_clock import WALL_CLOCK

MEANS, ALIVE_AT = "means", "alive_at"  # keys in the journal's meta table

OnTick = Callable[[Tick], None]
OnEvent = Callable[[Event], None]


class Record:
    """Journals a run and shows it to whoever watches.

    info: what the run is now. kept: False: nothing is journalled until `begin`, whatever comes of it.
    """

    def __init__(
        self,
        options: RunOptions,
        journal: JournalWriter,
        info: RunInfo,
        now_s: Callable[[], float],
        on_tick: OnTick,
        on_event: OnEvent,
    ) -> None:
        """now_s: the time of the run, seconds."""
        self.journal = journal
        self.info = info
        self.kept = True
        self._options = options
        self._now_s = now_s
        self._on_tick = on_tick
        self._on_event = on_event

    def begin(self) -> None:
        """From here on everything is journalled."""
        self.kept = True
        self.journal.set_meta("runner_pid", str(os.getpid()))
        self.journal.set_meta(SCENARIO, msgspec.json.encode(self._options.scenario).decode())
        self.journal.set_meta(MEANS, msgspec.json.encode(means_of(self._options)).decode())
        self.save()

    def emit(
        self,
        kind: str,
        text: str,
        *,
        recovery_s: float | None = None,
        at_s: float | None = None,
        fault: FaultMark | None = None,
    ) -> None:
        """Journal an event and show it."""
        t_s = self._now_s() if at_s is None else at_s
        event = Event(t_s=t_s, kind=kind, text=text, recovery_s=recovery_s, fault=fault)
        if self.kept:
            self.journal.add_event(event)
        self._on_event(event)

    def save(self, **changes: object) -> None:
        """Journal what the run is now."""
        self.info = msgspec.structs.replace(self.info, **changes)
        if self.kept:
            self.journal.set_run(self.info)

    def tick(self, tick: Tick) -> None:
        """Journal how the run stands, and show it."""
        if self.kept:
            self.journal.add_tick(tick)
            self.journal.set_meta(ALIVE_AT, str(WALL_CLOCK.now_s()))
        self._on_tick(tick)

    async def written(self) -> None:
        """Commit in a thread; where the disk is full the rows wait in memory, and that is said. Raises JournalError."""
        waited = self.journal.waits
        await asyncio.to_thread(self.journal.commit_or_wait)
        if self.journal.waits and not waited:
            text = f"the disk takes no more of the journal; it waits in memory, for {PATIENCE_S:g} s at most"
            self.emit("journal.full", text)
        elif waited and not self.journal.waits:
            self.emit("journal.written", "the disk takes the journal again; nothing was lost")

    def interrupt(self, how: str) -> None:
        """Journal, once, that the operator ended the run; one that a condition has aborted stays aborted."""
        if self.info.state not in ("interrupted", "aborted"):
            self.emit("operator.stop", how)
            self.save(state="interrupted")

    def fail(self, why: str) -> None:
        """Journal what the run broke on; one that a condition has aborted stays aborted."""
        self.emit("run.failed", why)
        if self.info.state != "aborted":
            self.save(state="failed")


def begun_now(options: RunOptions, target: Target, gpu_note: str) -> RunInfo:
    """A run that begins at this moment. `gpu_note`: why no GPU can be seen."""
    return RunInfo(
        id=options.run_id,
        scenario=options.scenario.name,
        seed=options.seed,
        plan_hash="",
        target=target.describe,
        model=target.model,
        started_at=datetime.fromtimestamp(WALL_CLOCK.now_s(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        environment={
            **describe_machine(),
            "gpu_note": gpu_note,
            "engine_ours": target.owned,
            **({"launched": True} if options.launch else {}),
            **({"target_pid": options.target_pid} if options.target_pid else {}),
        },
        state="running",
    )
