"""engine.kill: SIGKILL to the embedded engine, and the wait until its supervisor has it serving again."""

from __future__ import annotations

import asyncio
from typing import Protocol

RECOVERY_LIMIT_S = 60.0


class Killable(Protocol):
    """A target whose processes are ours."""

    @property
    def deaths(self) -> int: ...
    def kill(self, part: str) -> None: ...
    async def serving_again(self, deaths: int) -> None: ...


async def engine_kill(target: Killable, part: str) -> bool:
    """Kill `part` ("all", "api" or "decode") and wait until the engine serves again.

    Returns whether it came back within `RECOVERY_LIMIT_S`; the supervisor restarts it, so the fault ends by itself.
    """
    deaths = target.deaths
    target.kill(part)
    try:
        async with asyncio.timeout(RECOVERY_LIMIT_S):
            await target.serving_again(deaths)
    except TimeoutError:
        return False
    return True
