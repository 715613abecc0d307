"""A running engine with the demo model for integration tests: `from engine_fixtures import needs_model, running`."""

from __future__ import annotations

import asyncio
import sys
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


class Answering:
    """An engine at a URL, and a client to it."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url, self.client = url, client

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
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


class Running(Answering):
    """A supervised engine, a client to it, and the events so far."""

    def __init__(self, supervisor: EngineSupervisor, client: httpx.AsyncClient, events: list[EngineEvent]) -> None:
        super().__init__(supervisor.url, client)
        self.supervisor, self.events = supervisor, events

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=200), trust_env=False)


@asynccontextmanager
async def served(*flags: str) -> AsyncIterator[Answering]:
    """The engine alone, as a user starts it: `seatrial serve FLAGS` on a free port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "serve", "--port", "0", *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        assert url.startswith("http://"), "it did not start"
        async with client_of(url) as client:
            yield Answering(url, client)
    finally:
        process.terminate()
        assert await process.wait() == 0


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """Start an engine with these settings; stop it at the end whatever happened."""
    events: list[EngineEvent] = []
    config = replace(EngineConfig(model=DEMO_MODEL), **settings)
    supervisor = EngineSupervisor(config, events.append)
    await supervisor.start()
    try:
        async with client_of(supervisor.url) as client:
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
