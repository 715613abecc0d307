"""host.clock_step: the harness's wall clock jumps. It acts in the runner itself and cannot outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scenarios.faults.injector import Ended, Order
from scenarios.wall_clock import WALL_CLOCK


class ClockStepInjector:
    """An Injector of this one kind."""

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Event] = {}

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """See Injector.hold."""
        step_s, why = float(order.params["step"]), "it was ended"
        end = self._ends[order.number] = asyncio.Event()
        WALL_CLOCK.step(step_s)
        try:
            on()
            async with asyncio.timeout(order.for_s or None):
                await end.wait()
        except TimeoutError:
            why = "its time was over"
        finally:
            WALL_CLOCK.step(-step_s)
            del self._ends[order.number]
        return Ended(number=order.number, why=why, facts={"step_s": step_s})

    def end(self, number: int) -> None:
        """See Injector.end."""
        if number in self._ends:
            self._ends[number].set()

    async def died(self) -> str:
        """Never: it ends with the runner."""
        await asyncio.Event().wait()
        return ""

    async def close(self) -> None:
        """Nothing is in force but while it is held."""
