"""The ways in which a run ends before its plan does: at the operator's word, and once its gates have decided it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from scenarios.errors import StoppedEarly
from scenarios.load.pool import LoadPool
from scenarios.rebuild import GATES_DECIDED, SETTLED
from scenarios.runner.intake import Intake
from scenarios.runner.record import Record

STOP_GRACE_S = 2.0

T = TypeVar("T")


class Ending:
    """Ends the sending where somebody says so, and journals who it was. `stop` is set by the operator."""

    def __init__(self, stop: asyncio.Event, record: Record) -> None:
        self.stop = stop
        self._record = record

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

    async def obey_operator(self, pool: LoadPool) -> None:
        """End the run when the operator says so."""
        await self.stop.wait()
        self._record.interrupt(f"stopped by the operator; what is in flight gets {STOP_GRACE_S:g} s")
        await pool.stop(STOP_GRACE_S)

    async def obey_gates(self, pool: LoadPool, intake: Intake) -> None:
        """End the run once its gates have decided it, if there is anything left to send."""
        found, totals = await intake.decided, pool.totals
        if self.stop.is_set() or totals.sent >= totals.planned:
            return
        self._record.journal.set_meta(SETTLED, str(found.settled))
        self._record.emit(GATES_DECIDED, f"{found.why}; the rest of the plan is not sent")
        await pool.stop(STOP_GRACE_S)
