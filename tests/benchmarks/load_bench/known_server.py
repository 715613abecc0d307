"""A server whose TTFT is known: every POST is answered by a paced stream that begins a fixed time after it was read.

The first event says when the request was read and when the event was written, in ns of the monotonic clock.

Run as `python known_server.py FD TTFT_MS EVENTS GAP_MS`; FD is a listening socket. It ends when its stdin closes.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from scenarios.load.alarm import alarm

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
_LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
_MODELS = b'{"object":"list","data":[{"id":"known","object":"model"}]}'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Pace:
    """Every stream's next event, and one alarm for the first of them."""

    def __init__(self, ttft_ns: int, events: int, gap_ns: int) -> None:
        self.ttft_ns, self.events, self.gap_ns = ttft_ns, events, gap_ns
        self._due: list[tuple[int, int, int, int, asyncio.Transport]] = []
        self._number = itertools.count()
        self._alarm = alarm(asyncio.get_running_loop(), self._ring)

    def answer(self, transport: asyncio.Transport) -> None:
        now_ns = time.monotonic_ns()
        heapq.heappush(self._due, (now_ns + self.ttft_ns, next(self._number), 0, now_ns, transport))
        self._alarm.set(self._due[0][0])

    def _ring(self) -> None:
        for _ in range(64):
            if not self._due or self._due[0][0] > time.monotonic_ns():
                break
            due_ns, number, sent, read_ns, transport = heapq.heappop(self._due)
            if transport.is_closing():
                continue
            last = sent + 1 == self.events
            head, end = (_HEAD if sent == 0 else b""), (chunk(_LAST) + b"0\r\n\r\n" if last else b"")
            text = b"x " if sent else b"%d %d " % (read_ns, time.monotonic_ns())
            transport.write(head + chunk(_EVENT % text) + end)
            if not last:
                heapq.heappush(self._due, (due_ns + self.gap_ns, number, sent + 1, read_ns, transport))
        if self._due:
            self._alarm.set(self._due[0][0])


class Known(asyncio.Protocol):
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, blank, body = self._heard.partition(b"\r\n\r\n")
        fields = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        if not blank or len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._heard = b""
        if head.startswith(b"POST"):
            self._pace.answer(self._transport)
        else:
            kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_MODELS)
            self._transport.write(b"HTTP/1.1 200 OK\r\n" + kind + _MODELS)


async def serve() -> None:
    ttft_ms, events, gap_ms = float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    pace = Pace(int(ttft_ms * 1e6), events, int(gap_ms * 1e6))
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Known(pace), sock=socket.socket(fileno=int(sys.argv[1])), backlog=1024)
    gone = asyncio.Event()
    loop.add_reader(0, lambda: gone.set() if not os.read(0, 64) else None)
    await gone.wait()


if __name__ == "__main__":
    asyncio.run(serve())
