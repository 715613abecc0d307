"""Work that goes on beside other work, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def beside(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
    """Run `main` to its end with `others` beside it, which then end too. Any error ends all and is raised bare."""
    try:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(main)
            companions = [group.create_task(other) for other in others]
            await asyncio.wait([work])
            for companion in companions:
                companion.cancel()
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return work.result()
