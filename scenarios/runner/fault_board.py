"""Which faults are on: starts each as planned or as asked live, journals its start and end, knows what is active."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from scenarios.definition import FaultSpec
from scenarios.faults.engine_kill import engine_kill
from scenarios.runner.target import Target
from scenarios.tick import ActiveFault

ENGINE_KILL = "engine.kill"


class FaultBoard:
    """`now_s` is the time of the run in seconds; `emit(kind, text, recovery_s)` journals an event."""

    def __init__(
        self, target: Target, now_s: Callable[[], float], emit: Callable[[str, str, float | None], None]
    ) -> None:
        self._target = target
        self._now_s = now_s
        self._emit = emit
        self._active: list[ActiveFault] = []

    @property
    def active(self) -> tuple[ActiveFault, ...]:
        return tuple(self._active)

    async def follow(self, faults: Sequence[FaultSpec]) -> None:
        """Inject every planned fault at its time; returns when the last has ended."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._at(fault))

    async def inject(self, fault: FaultSpec) -> None:
        """One fault, now, until it has ended."""
        if fault.kind != ENGINE_KILL or not self._target.owned:
            self._emit("fault.refused", f"{fault.kind}: only the embedded engine can be killed", None)
            return
        part = str(dict(fault.params).get("part", "all"))
        if not self._target.runs(part):  # the wait for its death would be in vain
            self._emit("fault.refused", f"{fault.kind}: nothing of the engine is running just now", None)
            return
        mark = ActiveFault(kind=fault.kind, since_s=self._now_s())
        self._active.append(mark)
        self._emit("fault.start", fault.kind, None)
        try:
            back = await engine_kill(self._target, part)
        except asyncio.CancelledError:
            self._emit("fault.end", fault.kind, None)  # the run ended first
            raise
        finally:
            self._active.remove(mark)
        self._emit("fault.end", fault.kind, self._now_s() - mark.since_s if back else None)

    async def _at(self, fault: FaultSpec) -> None:
        await asyncio.sleep(max(0.0, fault.at_s - self._now_s()))
        await self.inject(fault)
