"""A run of one fault after another: what a fault leaves of a target of ours is put right before the next one comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from engine.supervisor import EngineState
from scenarios.definition import Matrix
from scenarios.errors import TargetError
from scenarios.faults.kinds import KINDS
from scenarios.tick import Tick


class Restorable(Protocol):
    """A target that can be started anew; `owned`: it is ours to do so."""

    @property
    def owned(self) -> bool: ...
    async def restore(self) -> None: ...


class CleanSlots:
    """Looks at the target at the end of each slot of a matrix, and has it started anew where it is down or hangs.

    It hangs where requests are under way and none has ended in the part of the slot that is left for recovering.
    """

    def __init__(
        self, matrix: Matrix, target: Restorable, now_s: Callable[[], float], emit: Callable[[str, str], None]
    ) -> None:
        self._matrix = matrix
        self._target = target
        self._now_s = now_s
        self._emit = emit
        self._rest_s = matrix.slot_s - matrix.lead_s - matrix.length_s
        self._recent: deque[Tick] = deque()

    def see(self, tick: Tick) -> None:
        """Every tick while a plan is sent, in order."""
        self._recent.append(tick)
        while self._recent[0].t_s < tick.t_s - self._rest_s:
            self._recent.popleft()

    async def follow(self) -> None:
        """Look after the target until the last slot has begun."""
        for number in range(1, len(self._matrix.kinds or KINDS)):
            at_s = number * self._matrix.slot_s
            if not self._target.owned or at_s < self._now_s():
                continue
            await asyncio.sleep(at_s - self._now_s())
            if why := self._why():
                try:
                    await self._target.restore()
                except TargetError as error:
                    self._emit("target.lost", f"{why}, and it could not be started anew: {error}")
                else:
                    self._emit("target.restored", f"{why}; it was started anew before the next fault")

    def _why(self) -> str:
        """Why it is not fit for the next fault; empty where it is."""
        if not self._recent:
            return ""
        first, last = self._recent[0], self._recent[-1]
        if last.engine.state != EngineState.READY.value:
            return f"the target was {last.engine.state} at the end of the slot"
        if last.in_flight and last.done == first.done:
            return (
                f"{last.in_flight} requests were under way at the end of the slot, none had ended in {self._rest_s:g} s"
            )
        return ""
