"""A server that does exactly what each test says, byte for byte; it shares no code with the client under test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self


class Turn:
    """One request as the server got it, and the means to answer it badly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.number = number  # of this request on its connection, from 0
        self.body = b""

    @property
    def path(self) -> str:
        words = self.head.split(b" ", 2)
        return words[1].decode("latin-1") if len(words) > 1 else ""

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Say nothing more until the client goes away."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Turn], Awaitable[bool | None]]  # True: keep the connection for the next request


class ScriptedServer:
    """Listens on loopback, or on a Unix socket at `path`; the last part of the request's path picks the script.

    Use with `async with`.
    """

    def __init__(
        self, scripts: Mapping[str, Script] | Script, tls: ssl.SSLContext | None = None, path: str | None = None
    ) -> None:
        self._tls = tls
        self._path = path
        self._scripts = scripts
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.turns: list[Turn] = []
        self._heard = asyncio.Condition()
        self.connections = 0
        self.failures: list[BaseException] = []

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._path, limit=1 << 24, backlog=1024)
        else:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", 0, limit=1 << 24, backlog=1024, ssl=self._tls
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if error is None and self.failures:
            raise self.failures[0]

    async def heard(self, count: int) -> None:
        """Wait until that many requests have come."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.turns) >= count)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for number in range(1 << 30):
                head = await reader.readuntil(b"\r\n\r\n")
                turn = Turn(reader, writer, head, number)
                turn.body = await reader.readexactly(int(turn.header("content-length") or 0))
                async with self._heard:
                    self.turns.append(turn)
                    self._heard.notify_all()
                script = self._scripts if callable(self._scripts) else self._scripts[turn.path.rpartition("/")[2]]
                if not await script(turn):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client went away
        except Exception as error:  # noqa: BLE001 - shown to the test when the server is left
            self.failures.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END = b"0\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(text: str, **extra: object) -> bytes:
    """An SSE event with `text` as answer text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice], **extra}).encode() + b"\n\n"


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


CUT = STREAM_HEAD + chunk(event("A"))


def stream(*events: bytes) -> bytes:
    """A whole sound streamed answer with these events, a finish_reason and [DONE]."""
    last = () if LAST in events else (LAST,)
    return STREAM_HEAD + b"".join(chunk(one) for one in (*events, *last, DONE)) + END


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer with a content length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"
COMPLETION = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A B"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
).encode()
