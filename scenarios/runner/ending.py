"""The ways in which a run ends before its plan does: operator, gates, a condition that aborts it, a broken road."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from scenarios.conditions import Watch, in_words
from scenarios.definition import Condition
from scenarios.errors import StoppedEarly
from scenarios.load.pool import LoadPool
from scenarios.rebuild import ABORT, GATES_DECIDED, SETTLED
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.intake import Intake
from scenarios.runner.record import Record
from scenarios.tick import Tick

STOP_GRACE_S = 2.0

T = TypeVar("T")


class Ending:
    """Ends the sending where somebody says so, and journals who it was; faults are always ended first.

    `stop` is set by the operator. aborted: set when a condition of the scenario held.
    """

    def __init__(self, stop: asyncio.Event, abort: Sequence[Condition], record: Record, faults: FaultBoard) -> None:
        self.stop = stop
        self.aborted = asyncio.Event()
        self._watches = [(condition, Watch(condition)) for condition in abort]
        self._record = record
        self._faults = faults
        self._road_gone = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to be sent."""
        return self.stop.is_set() or self.aborted.is_set() or self._road_gone

    def stopped_early(self) -> StoppedEarly:
        """The error of a run that the operator ended before anything was sent."""
        return StoppedEarly(f"run {self._record.info.id} was stopped while it was being prepared; nothing was sent")

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`, which is cancelled where the operator ends the run first. Raises StoppedEarly then."""
        working, stopping = asyncio.ensure_future(work), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise self.stopped_early()
            return working.result()
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait((working,))

    def see(self, tick: Tick) -> None:
        """Abort the run where a condition holds by this tick. Every tick while a plan is sent, in order."""
        held = [(condition, watch) for condition, watch in self._watches if watch.holds(tick)]
        if held and not self.over:
            condition, watch = held[0]
            self._record.emit(ABORT, f"{in_words(condition)}, it is {watch.value:.4g}")
            self._record.save(state="aborted")
            self.aborted.set()

    async def obey_operator(self, pool: LoadPool) -> None:
        """End the run when the operator says so."""
        await self.stop.wait()
        if self.aborted.is_set():
            return
        self._record.interrupt(f"stopped by the operator; what is in flight gets {STOP_GRACE_S:g} s")
        await self._stop(pool, "the operator stopped the run")

    async def obey_conditions(self, pool: LoadPool) -> None:
        """End the run when it was aborted."""
        await self.aborted.wait()
        await self._stop(pool, "the run was aborted")

    async def obey_gates(self, pool: LoadPool, intake: Intake) -> None:
        """End the run once its gates have decided it, if there is anything left to send."""
        found, totals = await intake.decided, pool.totals
        if self.over or totals.sent >= totals.planned:
            return
        self._record.journal.set_meta(SETTLED, str(found.settled))
        self._record.emit(GATES_DECIDED, f"{found.why}; the rest of the plan is not sent")
        await pool.stop(STOP_GRACE_S)

    async def obey_road(self, pool: LoadPool, proxy_died: asyncio.Future[str]) -> None:
        """End the run where the way to the target is gone: what follows would say nothing about the target."""
        await asyncio.shield(proxy_died)
        self._road_gone = True
        await self._stop(pool, "the proxy was gone")

    async def _stop(self, pool: LoadPool, why: str) -> None:
        await self._faults.finish(why)
        await pool.stop(STOP_GRACE_S)
