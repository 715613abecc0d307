"""The load client: one connection a request, stamps taken at the socket read, JSON decoded after the answer's end.

The same client measures every server, so that what it costs weighs on all of them alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import msgspec

from tests.benchmarks.engine_bench.prompts import Ask

NO_END = "no end in time"
"""`Answer.error` of a request that hung."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and which end tokens it must be told to avoid."""

    host: str
    port: int
    end_tokens: tuple[int, ...] = ()


@dataclass(slots=True)
class Answer:
    """What came of one request. Times are monotonic nanoseconds; 0: did not happen."""

    sent_ns: int
    due_ns: int = 0
    """When the open loop wanted it to start; 0 in a closed loop."""
    status: int = 0
    retry_after: str = ""
    events_ns: list[int] = field(default_factory=list)
    """Reads that brought text, one stamp for each event."""
    end_ns: int = 0
    tokens: int = 0
    """By the server's usage; else max_tokens if it ended by length; else the events."""
    prompt_tokens: int = 0
    finish: str = ""
    error: str = ""
    """An error the server reported, in an event or a body; or what broke the connection."""
    broken: bool = False
    """The connection ended before the message did, or nobody listened: the server has said nothing about it."""
    key: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200 and not self.error and not self.broken

    @property
    def ttft_s(self) -> float:
        """NaN when no token came."""
        return (self.events_ns[0] - self.sent_ns) / 1e9 if self.events_ns else float("nan")

    @property
    def e2e_s(self) -> float:
        return (self.end_ns - self.sent_ns) / 1e9

    @property
    def gaps_s(self) -> list[float]:
        """Between neighbouring events."""
        return [(b - a) / 1e9 for a, b in zip(self.events_ns, self.events_ns[1:], strict=False)]


class Stream(asyncio.Protocol):
    """One request on its way. `wait` returns when it has ended, by whatever side."""

    def __init__(self, head_and_body: bytes, ask: Ask) -> None:
        self._wire = head_and_body
        self._ask = ask
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._lines: list[tuple[int, bytes]] = []
        self._rest = b""
        self._now_ns = 0
        self._streamed = False
        self._done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._more = asyncio.Event()
        self.answer = Answer(0, key=ask.key)

    async def wait(self) -> Answer:
        return await asyncio.shield(self._done)

    async def wait_for_events(self, count: int) -> None:
        """Until so many events were read, the empty first one included, or the answer has ended."""
        while len(self._lines) < count and not self._done.done():
            self._more.clear()
            await self._more.wait()

    def abort(self) -> int:
        """Close the socket at once; returns when that was."""
        now_ns = time.monotonic_ns()
        if self._transport is not None:
            self._transport.abort()
        return now_ns

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.answer.sent_ns = time.monotonic_ns()
        self._transport.write(self._wire)

    def data_received(self, data: bytes) -> None:
        self._now_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"retry-after":
                self.answer.retry_after = value.decode("latin-1")
            case b"content-type":
                self._streamed = value.startswith(b"text/event-stream")

    def on_body(self, body: bytes) -> None:
        if self._streamed:
            *lines, self._rest = (self._rest + body).split(b"\n")
            self._lines += [(self._now_ns, line) for line in lines if line.startswith(b"data:")]
        else:
            self._rest += body
        self._more.set()

    def on_message_complete(self) -> None:
        self._end("")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "closed before the end of the message")

    def _end(self, why: str) -> None:
        if self._done.done():
            return
        answer = self.answer
        answer.end_ns = time.monotonic_ns()
        answer.error, answer.broken = why, bool(why)
        with contextlib.suppress(httptools.HttpParserError):
            answer.status = self._parser.get_status_code()
        if self._streamed:
            self._read_events()
        else:
            self._read_body()
        self._more.set()
        if self._transport is not None:
            self._transport.abort() if why else self._transport.close()
        self._done.set_result(answer)

    def _read_events(self) -> None:
        answer = self.answer
        for stamp_ns, line in self._lines:
            payload = line[5:].strip()
            if payload == b"[DONE]":
                continue
            try:
                event = msgspec.json.decode(payload)
            except msgspec.DecodeError:
                answer.error = answer.error or "an event that is not JSON"
                continue
            self._read_event(event, stamp_ns)
        if not answer.tokens:
            answer.tokens = self._ask.max_tokens if answer.finish == "length" else len(answer.events_ns)

    def _read_event(self, event: dict[str, Any], stamp_ns: int) -> None:
        answer = self.answer
        if error := event.get("error"):
            answer.error = str(error.get("message", error) if isinstance(error, dict) else error)
            answer.end_ns = stamp_ns
            return
        if usage := event.get("usage"):
            answer.tokens = int(usage.get("completion_tokens", 0))
            answer.prompt_tokens = int(usage.get("prompt_tokens", 0))
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content") or delta.get("reasoning_content") or choice.get("text"):
                answer.events_ns.append(stamp_ns)
            answer.finish = choice.get("finish_reason") or answer.finish

    def _read_body(self) -> None:
        answer = self.answer
        try:
            document = msgspec.json.decode(self._rest) if self._rest else {}
        except msgspec.DecodeError:
            document = {}
        if not isinstance(document, dict):
            return
        if usage := document.get("usage"):
            answer.tokens = int(usage.get("completion_tokens", 0))
            answer.prompt_tokens = int(usage.get("prompt_tokens", 0))
        if error := document.get("error"):
            answer.error = str(error.get("message", error) if isinstance(error, dict) else error)


async def open_stream(address: Address, ask: Ask) -> Stream:
    """Connect and write the request. Raises OSError when nobody listens."""
    body = ask.body(address.end_tokens)
    key = f"Authorization: Bearer {ask.key}\r\n" if ask.key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n{key}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    _transport, stream = await loop.create_connection(
        lambda: Stream(head.encode() + body, ask), address.host, address.port
    )
    return stream


async def answer_to(address: Address, ask: Ask, timeout_s: float) -> Answer:
    """The answer, whatever it is; a connection refused or no end within `timeout_s` is an Answer with that error."""
    begun_ns = time.monotonic_ns()
    stream: Stream | None = None
    try:
        async with asyncio.timeout(timeout_s):
            stream = await open_stream(address, ask)
            return await stream.wait()
    except TimeoutError:
        return Answer(begun_ns, end_ns=time.monotonic_ns(), error=NO_END, broken=True, key=ask.key)
    except OSError as error:
        what = f"cannot connect: {error.strerror}"
        return Answer(begun_ns, end_ns=time.monotonic_ns(), error=what, broken=True, key=ask.key)
    finally:
        if stream is not None:
            stream.abort()
