"""A running engine with the demo model for integration tests: `from engine_fixtures import needs_model, running`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from engine.config import DEMO_MODEL, EngineConfig
from engine.supervisor import EngineEvent, EngineSupervisor

needs_model = pytest.mark.skipif(not DEMO_MODEL.is_file(), reason=f"{DEMO_MODEL} is missing")


class Running:
    """A supervised engine, a client to it, and the events so far."""

    def __init__(self, supervisor: EngineSupervisor, client: httpx.AsyncClient, events: list[EngineEvent]) -> None:
        self.supervisor, self.client, self.events = supervisor, client, events

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.supervisor.url.removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    async def chat(self, text: str = "What are your opening hours?", **more: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 24, "temperature": 0, **more}
        return await self.client.post("/v1/chat/completions", json=body)

    async def metric(self, name: str) -> float:
        text = (await self.client.get("/metrics")).text
        for line in text.splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name} in\n{text[:500]}")

    async def healthy(self) -> bool:
        try:
            return (await self.client.get("/health")).status_code == 200
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """Start an engine with these settings; stop it at the end whatever happened."""
    events: list[EngineEvent] = []
    config = replace(EngineConfig(model=DEMO_MODEL), **settings)
    supervisor = EngineSupervisor(config, events.append)
    await supervisor.start()
    try:
        async with httpx.AsyncClient(
            base_url=supervisor.url, timeout=60, limits=httpx.Limits(max_connections=200), trust_env=False
        ) as client:
            yield Running(supervisor, client, events)
    finally:
        await supervisor.stop(1.0)


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, within_s: float = 20.0, every_s: float = 0.02
) -> float:
    """Poll until the condition holds; returns the seconds it took. Fails with `what` at the deadline."""
    start = time.monotonic()
    while time.monotonic() - start < within_s:
        if await condition():
            return time.monotonic() - start
        await asyncio.sleep(every_s)
    raise AssertionError(f"not within {within_s} s: {what}")
