"""What one connection may cost: heads, trailers and bodies that nobody reads. uvicorn and a small application."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from engine.api.http import BoundedHttpProtocol, Limits

HEAD = b"POST /here HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def server(seen: list[Any], *, reads: bool) -> AsyncIterator[int]:
    """An application that answers 200, after reading the body or without; yields its port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while reads and (await receive()).get("more_body"):
            pass
        seen.append([name for name, _value in scope["headers"]])
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(app) as port:
        yield port


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Serve an application; yields its port."""
    config = uvicorn.Config(app, port=0, http=BoundedHttpProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    made = uvicorn.Server(config)
    made.lifespan = config.lifespan_class(config)
    await made.startup()
    try:
        yield int(made.servers[0].sockets[0].getsockname()[1])
    finally:
        await made.shutdown()


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "header_s", 0.3)
    monkeypatch.setattr(Limits, "header_bytes", 4096)


async def test_a_client_that_does_not_read_holds_its_answer_up_and_costs_a_bounded_buffer() -> None:
    sent = 0
    buffered: list[int] = []
    gone = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"x" * 16_384, "more_body": True})
            sent += 16_384
            buffered.append(connection_of(send).transport.get_write_buffer_size())

    async with serving(app) as port:
        # A small receive buffer, so that little disappears in the kernel.
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            before = -1
            async with asyncio.timeout(10):
                while sent == 0 or sent > before:
                    before = sent
                    await asyncio.sleep(0.2)
            assert max(buffered) <= 64 * 1024 + 2 * 16_384
        finally:
            gone.set()
            sock.close()


def connection_of(send: Any) -> Any:
    """The request cycle whose `send` this is."""
    return send.__self__


async def test_trailers_are_not_merged_into_the_head() -> None:
    seen: list[Any] = []
    async with server(seen, reads=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()
    assert seen == [[b"host", b"transfer-encoding"]]


@pytest.mark.parametrize("part", [b"X: y\r\n", b"y"], ids=["many", "one endless"])
async def test_trailers_beyond_the_limit_are_refused(part: bytes) -> None:
    async with server([], reads=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: ")
        answer = asyncio.create_task(reader.readline())
        try:
            for _ in range(500):
                writer.write(part * 2048)
                await asyncio.sleep(0)
                if answer.done() or writer.is_closing():
                    break
            assert b"431" in await asyncio.wait_for(answer, 5)
        finally:
            writer.transport.abort()


async def test_a_body_larger_than_a_head_may_be_is_taken_however_it_is_cut() -> None:
    async with server([], reads=True) as port:
        for framing, body in (
            (b"Content-Length: 100000\r\n\r\n", b"x" * 100_000),
            (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n" * 10_000 + b"0\r\n\r\n"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + framing)
            for start in range(0, len(body), 7000):
                writer.write(body[start : start + 7000])
                await writer.drain()
            assert b"200" in await asyncio.wait_for(reader.readline(), 5)
            writer.close()


async def test_a_body_that_nobody_waits_for_does_not_hold_its_connection_open() -> None:
    async with server([], reads=False) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
        assert b"200" in await reader.readline()
        ended = asyncio.create_task(reader.read())
        start = time.monotonic()
        while not ended.done():
            assert time.monotonic() - start < 5, "still open"
            writer.write(b"x")
            await asyncio.sleep(0.02)
        await asyncio.gather(ended, return_exceptions=True)
        writer.close()


async def test_a_late_body_leaves_the_connection_usable() -> None:
    async with server([], reads=False) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n")
            assert b"200" in await reader.readuntil(b"ok")
            writer.write(b"hi")
        await asyncio.sleep(0.4)  # longer than the limit that ended with the last body
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        assert b"200" in await asyncio.wait_for(reader.readuntil(b"ok"), 5)
        writer.close()
