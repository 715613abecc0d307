"""A small server that remembers how its clients behaved: `async with CrowdedServer() as server`."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Guest:
    """One connection: what came, when (s of the loop), and how it ended ("" while it is open)."""

    begun_s: float
    head: bytes = b""
    body: bytes = b""
    body_bytes: int = 0
    asked_s: float = 0.0
    first_byte_s: float = 0.0
    sent_bytes: int = 0
    ended: str = ""


@dataclass(slots=True)
class CrowdedServer:
    """status: of its answers to POST, list_status: to GET. events, every_s: of a stream.

    size_limit: larger bodies get 413 at once.
    """

    status: int = 200
    list_status: int = 200
    events: int = 4
    every_s: float = 0.0
    event_bytes: int = 10
    size_limit: int = 1 << 20
    head_limit_s: float = 60.0
    guests: list[Guest] = field(default_factory=list)
    open: int = 0
    open_most: int = 0
    url: str = ""
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> CrowdedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def asked(self) -> list[Guest]:
        """Those who asked for a completion."""
        return [guest for guest in self.guests if guest.head.startswith(b"POST")]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = Guest(asyncio.get_running_loop().time())
        self.guests.append(guest)
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        try:
            guest.ended = await self._answer(guest, reader, writer)
        except (OSError, EOFError):
            guest.ended = "broken"
        finally:
            self.open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        try:
            async with asyncio.timeout(self.head_limit_s):
                guest.head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return "thrown out"
        guest.asked_s = asyncio.get_running_loop().time()
        if guest.head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 %d So\r\nContent-Length: 2\r\n\r\n{}" % self.list_status)
            await writer.drain()
            return "told"
        guest.body_bytes = next(
            int(line.split(b":")[1]) for line in guest.head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        if guest.body_bytes > self.size_limit:
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return "too large"
        guest.body = await reader.readexactly(guest.body_bytes)
        if self.status != 200:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.status)
            await writer.drain()
            return "turned away"
        return await self._stream(guest, reader, writer)

    async def _stream(self, guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        leaving = asyncio.create_task(reader.read(1))
        try:
            for _ in range(self.events):
                event = (
                    b"data: %s\n\n" % json.dumps({"choices": [{"delta": {"content": "a" * self.event_bytes}}]}).encode()
                )
                writer.write(event)
                await writer.drain()
                guest.sent_bytes += len(event)
                await asyncio.wait((leaving,), timeout=self.every_s)
                if leaving.done():
                    return "left"
            writer.write(b"data: [DONE]\n\n")
            await writer.drain()
            return "served"
        finally:
            leaving.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await leaving
