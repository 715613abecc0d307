"""A server whose capacity is known: so many workers, each busy for a fixed time with one request, in order of arrival.

The times of each answer are worked out from the arrivals (a request starts when it arrives or when a worker is free,
whichever is later) and the loop is only asked to write then, so that its own lateness does not add up: the capacity is
workers / service time, whatever the machine is doing. `python -m tests.benchmarks.load_bench.capacity_server` runs one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import json
import re
import subprocess
import sys
from collections.abc import Iterator

TOKENS = 4
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODELS = json.dumps({"object": "list", "data": [{"id": "known", "object": "model"}]}).encode()
_REASON = b'{"error":{"message":"not just now"}}'
_SHED = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_REASON), _REASON)
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(text: str | None, **rest: object) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": None if text else "stop"}
    body = {"id": "known", "object": "chat.completion.chunk", "model": "known", "choices": [choice], **rest}
    return _chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


_FIRST = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + _event("word ")
_NEXT = _event("word ")
_LAST = (
    _event(None, usage={"prompt_tokens": 1, "completion_tokens": TOKENS, "total_tokens": 1 + TOKENS})
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Workers:
    """When the workers are free. `queue`: how many may wait; one more is turned away. None: as many as come."""

    def __init__(self, workers: int, service_s: float, queue: int | None) -> None:
        self.service_s = service_s
        self._free = [0.0] * workers
        self._ends: list[float] = []
        self._most = None if queue is None else queue + workers

    def take(self, now_s: float) -> float | None:
        """When a request that arrives now starts to be served; None when it is turned away."""
        while self._ends and self._ends[0] <= now_s:
            heapq.heappop(self._ends)
        if self._most is not None and len(self._ends) >= self._most:
            return None
        start_s = max(now_s, self._free[0])
        heapq.heapreplace(self._free, start_s + self.service_s)
        heapq.heappush(self._ends, start_s + self.service_s)
        return start_s


class Connection(asyncio.Protocol):
    """One request after the other, as HTTP/1.1 clients send them that wait for each answer."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data, 0, head + 2)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._data) < end:
                return
            request, self._data = self._data[:end], self._data[end:]
            self._answer(request.startswith(b"GET"))

    def _answer(self, models: bool) -> None:
        if models:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_MODELS)
            self._transport.write(head + _MODELS)
            return
        start_s = self._workers.take(self._loop.time())
        if start_s is None:
            self._transport.write(_SHED)
            return
        step_s = self._workers.service_s / TOKENS
        for number in range(1, TOKENS + 1):
            piece = _FIRST if number == 1 else _NEXT
            self._loop.call_at(start_s + number * step_s, self._write, piece + (_LAST if number == TOKENS else b""))

    def _write(self, piece: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(piece)


async def serve(workers: Workers) -> None:
    """Listen on loopback, say on stdout where, until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(workers), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def known_server(workers: int, service_s: float, queue: int | None = None) -> Iterator[str]:
    """One in a process of its own; its base URL. Its capacity is workers / service_s requests per second."""
    command = [sys.executable, "-m", __name__, "--workers", str(workers), "--service", str(service_s)]
    command += [] if queue is None else ["--queue", str(queue)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--service", type=float, required=True, metavar="S", help="seconds that one request takes")
    parser.add_argument("--queue", type=int, help="how many may wait; one more is answered 429")
    args = parser.parse_args()
    asyncio.run(serve(Workers(args.workers, args.service, args.queue)))


if __name__ == "__main__":
    main()
