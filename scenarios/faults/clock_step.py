"""host.clock_step: the harness's wall clock jumps. It acts in the runner itself and cannot outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scenarios.faults.injector import Ended, Order
from scenarios.wall_clock import WALL_CLOCK


class ClockStepInjector:
    """An Injector of this one kind."""

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """See Injector.hold."""
        step_s = float(order.params["step"])
        WALL_CLOCK.step(step_s)
        try:
            on()
            await asyncio.sleep(order.for_s or float("inf"))
        finally:
            WALL_CLOCK.step(-step_s)
        return Ended(number=order.number, why="its time was over", facts={"step_s": step_s})

    async def died(self) -> str:
        """Never: it ends with the runner."""
        await asyncio.Event().wait()
        return ""

    async def close(self) -> None:
        """Nothing is in force but while it is held."""
