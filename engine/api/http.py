"""uvicorn's HTTP protocol with the bounds it lacks: size and time of a request head, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from engine.errors import RequestError

_PER_HEADER = 32
"""Each header counts this much beside its bytes (as in RFC 9113, 6.5.2), so that thousands of tiny ones count too."""


def error_body(error: RequestError) -> bytes:
    """OpenAI's error shape."""
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


class Limits:
    """Bounds of a connection; set once by the server before the first connection."""

    header_bytes = 64 * 1024
    header_s = 10.0
    write_s = 30.0
    connections = 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A head (or trailer) too large is answered 431, one too slow 408, a malformed one 400;
    then it is closed. A client that reads nothing of its answer is disconnected."""

    _head_bytes = 0
    """Received since the last piece of a body: of a head, or of chunk extensions and trailers."""
    _head_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _read_timer: asyncio.TimerHandle | None = None
    """Runs while the client does not read as fast as its answer is written."""
    _unread = 0
    """Bytes that were waiting for the client when the timer was set."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows the type
        if len(self.connections) > Limits.connections:
            self._refuse(503, "Too many open connections. Try again later.", "too_many_connections")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head and self._head_timer is None:
            self._await_head()
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade may be ignored (RFC 9110, 7.8): the request is answered as it is, and nothing after it.
            if self.cycle is not None:
                self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(400, "This is not a valid HTTP/1.1 request.", "malformed_http")
        # Checked after the parser, which may have met the head's end: a body must not count, what frames it does.
        if self._head_bytes > Limits.header_bytes:
            self._refuse(431, f"The request head is larger than {Limits.header_bytes} bytes.", "headers_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are not merged into the head (RFC 9110, 6.5.1), and not kept.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        size = sum(len(name) + len(value) + _PER_HEADER for name, value in self.headers) + len(self.url)
        if size > Limits.header_bytes:
            self._refuse(431, f"The request head is larger than {Limits.header_bytes} bytes.", "headers_too_large")
            return
        hosts = sum(name == b"host" for name, _value in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._refuse(400, "A request names exactly one Host (RFC 9112, 3.2).", "malformed_http")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None:
            super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0
        self._stop_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head and self.cycle is not None and self.cycle.response_complete:
            # Answered before its body was whole: the rest is thrown away, but not for ever.
            self._stop_timer()
            self._head_timer = self.loop.call_later(Limits.header_s, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_read_timer()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # to close it would wait for the client to read the rest
        else:
            super().timeout_keep_alive_handler()

    def _await_reader(self) -> None:
        self._stop_read_timer()
        self._unread = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(Limits.write_s, self._check_reader)

    def _check_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._await_reader()  # slow, but it reads
        else:
            self.transport.abort()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _should_upgrade(self) -> bool:
        return False

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._stop_timer()
        self._head_timer = self.loop.call_later(Limits.header_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self._refuse(408, f"No complete request head came within {Limits.header_s:g} s.", "headers_too_slow")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer on the bare transport and close. In the middle of another answer only close."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if not answering:
            body = error_body(RequestError(status, message, code=code))
            head: list[Any] = [
                STATUS_LINE[status],
                b"content-type: application/json\r\n",
                b"content-length: %d\r\n" % len(body),
                b"connection: close\r\n",
                b"retry-after: 1\r\n" if status == 503 else b"",
                b"\r\n",
            ]
            self.transport.write(b"".join(head) + body)
        self.transport.close()
