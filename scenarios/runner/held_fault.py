"""One fault that somebody was ordered to bring about: since when it is in force, how it ended, and what is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from scenarios.conditions import Watch
from scenarios.definition import FaultSpec
from scenarios.faults.blast import busy_s
from scenarios.faults.injector import Ended, Injector, Order
from scenarios.tick import ActiveFault, FaultMark

ENDING_S = 10.0  # so long whoever holds a fault has to undo it


@dataclass(slots=True)
class HeldFault:
    """since_s: None until it is in force; why: it was ended early."""

    fault: FaultSpec
    mark: FaultMark
    task: asyncio.Task[None]
    watch: Watch | None
    since_s: float | None = None
    why: str = ""

    @property
    def shown(self) -> ActiveFault:
        since_s = self.since_s or 0.0
        until_s = None if self.mark.instant else since_s + self.fault.for_s
        return ActiveFault(
            kind=self.fault.kind,
            since_s=since_s,
            number=self.mark.number,
            until_s=until_s,
            words=self.mark.words,
        )

    @property
    def over_by_s(self) -> float:
        """When it should be over, by plan."""
        return self.fault.at_s + busy_s(self.fault)

    def end(self, why: str) -> None:
        """Have it undone now; its task is over when it is."""
        if not self.why:
            self.why = why
            self.task.cancel()

    async def ended(self, injector: Injector, order: Order, begun: Callable[[], None]) -> Ended:
        """Have it held to its end, of which the mark then tells, also where the waiting is cancelled.

        Cancelled, it has the fault undone first. As Injector.hold otherwise; `begun` sets `since_s`.
        """
        holding = asyncio.create_task(injector.hold(order, begun))
        try:
            await asyncio.wait((holding,))
        except asyncio.CancelledError:
            if self.since_s is None:
                holding.cancel()
            elif not holding.done():
                injector.end(order.number)
            await asyncio.wait((holding,), timeout=ENDING_S)
            raise
        finally:
            self.mark = _told(self.mark, holding)
            if not holding.done():
                holding.cancel()
                await asyncio.wait((holding,))
        return holding.result()


def _told(mark: FaultMark, holding: asyncio.Task[Ended]) -> FaultMark:
    """The mark with what its holder said; where nobody has answered, it is not known to be undone."""
    if not holding.done():
        return msgspec.structs.replace(mark, undone=False)
    if holding.cancelled() or holding.exception() is not None:
        return mark
    ended = holding.result()
    return msgspec.structs.replace(mark, undone=ended.undone, facts=ended.facts)
