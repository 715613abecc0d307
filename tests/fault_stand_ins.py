"""Injectors that do nothing but say what they were asked, and end when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from scenarios.address import DIRECT, Road
from scenarios.errors import HarnessError
from scenarios.faults.injector import Ended, FaultRefused, Order


class StandIn:
    """Holds every fault for its time.

    refuses: kinds, and why. log: "begin 1", "undo 1", "close", in their order. Made inside a running loop.
    """

    def __init__(self, base_url: str = "", refuses: Mapping[str, str] | None = None) -> None:
        self.base_url = base_url
        self.road: Road = DIRECT
        self.orders: list[Order] = []
        self.log: list[str] = []
        self.begun = asyncio.Event()
        self.deaf = False  # to being told to end
        self._ends: dict[int, asyncio.Event] = {}
        self._refuses = dict(refuses or {})
        self._death: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def die(self, how: str) -> None:
        self._death.set_result(how)

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        self.orders.append(order)
        if why := self._refuses.get(order.kind):
            raise FaultRefused(why)
        on()
        self.log.append(f"begin {order.number}")
        self.begun.set()
        self._ends[order.number] = asyncio.Event()
        end, death = asyncio.create_task(self._ends[order.number].wait()), asyncio.create_task(self.died())
        try:
            await asyncio.wait((end, death), timeout=order.for_s, return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                raise HarnessError(death.result())
            why = "it was ended" if end.done() else "its time was over"
            return Ended(number=order.number, why=why, facts={"hit": 3.0})
        finally:
            end.cancel()
            death.cancel()
            self.log.append(f"undo {order.number}")

    def end(self, number: int) -> None:
        if not self.deaf:
            self._ends[number].set()

    async def died(self) -> str:
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        self.log.append("close")
