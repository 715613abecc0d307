"""A scripted server behind the fault proxy, and the real load client before it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scripted_server import Script, ScriptedServer

from scenarios.address import DIRECT, Road
from scenarios.faults.injector import Ended, Order
from scenarios.faults.kinds import KINDS
from scenarios.faults.proxy import ProxyInjector
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest


def order(kind: str, number: int = 1, for_s: float = 60.0, **own: Any) -> Order:
    """A fault with its defaults; what is no field of an Order is one of its parameters."""
    fields = {name: own.pop(name) for name in ("share", "hits", "seed") if name in own}
    params: dict[str, float | str] = {param.name: param.default for param in KINDS[kind].params}
    assert own.keys() <= params.keys()
    return Order(number=number, kind=kind, for_s=for_s, params=params | own, **fields)


class Held:
    """A fault in force, until it is let go or ends by itself."""

    def __init__(self, task: asyncio.Task[Ended]) -> None:
        self.task = task

    async def ended(self) -> Ended:
        return await asyncio.wait_for(self.task, 20)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def hold(proxy: ProxyInjector, one: Order) -> Held:
    """Once it is in force."""
    on = asyncio.Event()
    task = asyncio.create_task(proxy.hold(one, on.set))
    waiting = asyncio.create_task(on.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=20)
    waiting.cancel()
    if not on.is_set():
        await task
    return Held(task)


@asynccontextmanager
async def behind(
    script: Script, folder: Path, road: Road = DIRECT, **server: Any
) -> AsyncIterator[tuple[ScriptedServer, ProxyInjector]]:
    async with ScriptedServer(script, **server) as target, before(url_of(target, **server), folder, road) as proxy:
        yield target, proxy


def url_of(server: ScriptedServer, tls: object = None, path: str | None = None) -> str:
    if path is not None:
        return f"unix:{path}"
    return server.url.replace("http:", "https:") if tls is not None else server.url


@asynccontextmanager
async def before(url: str, folder: Path, road: Road = DIRECT) -> AsyncIterator[ProxyInjector]:
    proxy = await ProxyInjector.start(url, road, folder, 7)
    try:
        yield proxy
    finally:
        await proxy.close()


def requests(count: int = 1, gap_s: float = 0.02, timeout_s: float = 20.0, **own: Any) -> Plan:
    body = b'{"stream":true}'
    settings = {"path": "/v1/chat/completions", "body": body, "timeout_s": timeout_s, "stream": True, **own}
    return Plan.of(
        [PlannedRequest(index=index, due_ns=round(index * gap_s * 1e9), **settings) for index in range(count)]
    )


async def ask(url: str, road: Road, plan: Plan) -> list[Observation]:
    """What came of each request, by index."""
    pool = LoadPool(plan, url, road=road)
    try:
        await pool.prepare()
        pool.start(time.monotonic_ns())
        seen = [one async for batch in pool.batches() for one in batch.observations]
    finally:
        await pool.close()
    return sorted(seen, key=lambda one: one.index)


def outcomes(seen: list[Observation]) -> set[Outcome]:
    return {one.outcome for one in seen}
