"""One request on a connection of its own, and as much of its answer as the client cares to read."""

from __future__ import annotations

import asyncio
import socket

from scenarios.faults.clients.tally import Tally
from scenarios.load.dial import Dialer
from scenarios.load.target import Target, wire_bytes
from scenarios.request import PlannedRequest

_BUFFER = 4096
_DONE = b"[DONE]"
_SHED = (429, 503)


class Conversation:
    """Every request says "Connection: close", so that the end of the answer is the end of the connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, tally: Tally
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._target = target
        self._tally = tally
        self._told = False  # how it ended was counted

    @classmethod
    async def begin(cls, dialer: Dialer, target: Target, tally: Tally, receive_bytes: int) -> Conversation:
        """A connection, made. Raises OSError."""
        sock = await dialer.dial()
        try:
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            name = target.address.host if target.tls else None
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=target.tls, server_hostname=name, limit=_BUFFER
            )
        except BaseException:
            sock.close()
            raise
        return cls(reader, writer, target, tally)

    def cut_off(self) -> None:
        """Close at once. What was not read to its end counts as left."""
        if not self._told:
            self._told = True
            self._tally.left += 1
        self._writer.transport.abort()

    # ---- asking

    def head(self, path: str, body_bytes: int = 0) -> bytes:
        """The head of a request, with its blank line, for a body of so many bytes."""
        headers = (("Connection", "close"), *((("Content-Length", str(body_bytes)),) if body_bytes else ()))
        method = "POST" if body_bytes else "GET"
        planned = PlannedRequest(index=0, due_ns=0, method=method, path=path, headers=headers, body=b"")
        return wire_bytes(planned, self._target)

    async def ask(self, body: bytes) -> None:
        """Send a chat completion, whole. Raises OSError."""
        await self.write(self.head("/v1/chat/completions", len(body)) + body)

    async def write(self, data: bytes) -> None:
        """Send so much, and wait while the target takes nothing. Raises OSError."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            self._tell("failed")
            raise
        self._tally.sent_bytes += len(data)

    # ---- listening

    async def status(self) -> int:
        """Read the answer's head. Raises OSError or EOFError where there is none."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            self._tally.bytes += len(head)
            return int(head.split(b" ", 2)[1])
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ValueError) as error:
            self._tell("failed")
            raise EOFError("no answer") from error
        except OSError:
            self._tell("failed")
            raise

    async def some(self, most: int = _BUFFER) -> bytes:
        """What has come of the answer, at least a byte; empty at its end. Raises OSError."""
        try:
            data = await self._reader.read(most)
        except OSError:
            self._tell("failed")
            raise
        self._tally.bytes += len(data)
        return data

    async def rest(self, status: int, streamed: bool = True) -> bool:
        """Read the answer to its end, count what it came to, and say whether it was a whole one. Raises OSError."""
        tail = b""
        while data := await self.some():
            tail = (tail + data)[-64:]
        return self.ended(status, tail, streamed)

    def ended(self, status: int, tail: bytes, streamed: bool = True) -> bool:
        """Count an answer that was read to its end; `tail` is what it ended with."""
        ok = status == 200 and (not streamed or _DONE in tail)
        self._tell("ok" if ok else "shed" if status in _SHED else "failed")
        return ok

    def _tell(self, how: str) -> None:
        if not self._told:
            self._told = True
            setattr(self._tally, how, getattr(self._tally, how) + 1)
