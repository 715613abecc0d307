"""A server that knows when it wrote each event: paced streams whose every event holds the time of its own writing.

It is what the instrument is held against before a run. Run as `python -m scenarios.load.pacer FD`, where FD is an
inherited listening socket; it ends when its stdin closes, so it cannot outlive who started it.

POST with a body {"events": N, "gap_ns": G}: N server-sent events G ns apart, each with the monotonic time in ns, and a
semicolon, as its answer text; the first at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
import sys
import time
from typing import cast

import msgspec

from scenarios.load.alarm import alarm
from scenarios.load.priority import ask_for_short_turns

STAMP_END = ";"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%d;"}}]}\n\n'
_LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
_CHUNK = b"%x\r\n%s\r\n"
_BURST = 64  # events written before the sockets get a turn


class Ask(msgspec.Struct, frozen=True):
    """What a client asks for."""

    events: int
    gap_ns: int


class Pacer:
    """The streams that are open, and one alarm for the next event of any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = alarm(loop, self._ring)
        self._due: list[tuple[int, int, Stream]] = []
        self._number = itertools.count()

    def add(self, stream: Stream, when_ns: int) -> None:
        heapq.heappush(self._due, (when_ns, next(self._number), stream))
        self._alarm.set(self._due[0][0])

    def _ring(self) -> None:
        due = self._due
        for _ in range(_BURST):
            if not due or due[0][0] > time.monotonic_ns():
                break
            when_ns, number, stream = due[0]
            if stream.write_event():
                heapq.heapreplace(due, (when_ns + stream.gap_ns, number, stream))
            else:
                heapq.heappop(due)
        if due:
            self._alarm.set(due[0][0])


class Stream(asyncio.Protocol):
    """One connection: a request, its paced answer, the next request."""

    def __init__(self, pacer: Pacer) -> None:
        self.gap_ns = 0
        self._pacer = pacer
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, blank, body = self._heard.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            return
        self._heard = b""
        ask = msgspec.json.decode(body, type=Ask)
        self.gap_ns, self._left = ask.gap_ns, ask.events
        assert self._transport is not None
        self._transport.write(_HEAD)
        self._pacer.add(self, time.monotonic_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def write_event(self) -> bool:
        """The next event, stamped with now; False when it was the last, or nobody listens."""
        if self._transport is None:
            return False
        self._left -= 1
        event = _EVENT % time.monotonic_ns()
        self._transport.write(_CHUNK % (len(event), event))
        if self._left > 0:
            return True
        self._transport.write(_CHUNK % (len(_LAST), _LAST) + b"0\r\n\r\n")
        return False


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    pacer = Pacer(loop)
    server = await loop.create_server(lambda: Stream(pacer), sock=listener, backlog=1024)
    gone = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: gone.set() if not os.read(sys.stdin.fileno(), 64) else None)
    await gone.wait()
    server.close()
    os._exit(0)


def main() -> None:
    """Entry point; the only argument is the inherited listening socket's descriptor."""
    ask_for_short_turns()
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
