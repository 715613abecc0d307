"""Answers that a request gets instead of the target's: http.error, http.too_many, http.error_in_200."""

from __future__ import annotations

import math

import msgspec

from scenarios.faults.proxy.answers.message import Head
from scenarios.faults.proxy.transform import Piece

_REASONS = {
    200: "OK",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_CLOSE = b"Connection: close\r\n"


class Refusal:
    """Every request gets this status with an error object as body; nothing reaches the target."""

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        kind = "rate_limit_error" if status == 429 else "server_error"
        said = {"error": {"message": message, "type": kind, "param": None, "code": None}}
        self._body = msgspec.json.encode(said)
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "Content-Type: application/json"]
        if retry_after_s is not None:
            lines.append(f"Retry-After: {math.ceil(retry_after_s)}")  # whole seconds: RFC 9110, section 10.2.3
        lines.append(f"Content-Length: {len(self._body)}")
        self._head = "\r\n".join(lines).encode() + b"\r\n"

    def instead(self, request_head: bytes) -> list[Piece] | None:
        """The whole answer; to HEAD, its head. Who asks for it gets the close that ends it."""
        closes = _asks_to_close(Head(request_head))
        body = b"" if request_head.startswith(b"HEAD ") else self._body
        return [Piece(0.0, self._head + (_CLOSE if closes else b"") + b"\r\n" + body, "fin" if closes else "")]

    def feed(self, data: bytes) -> list[Piece]:
        """Of an answer that had begun before, as it is."""
        return [Piece(0.0, data)]

    def end(self) -> list[Piece]:
        return []

    def relent(self) -> list[Piece]:
        return []


def _asks_to_close(request: Head) -> bool:
    """Whether its connection is not to be kept: HTTP/1.0 or `Connection: close` (RFC 9112, section 9.3).

    Neither is that of a request which waits to be told to send its body: nobody knows now whether that will come.
    """
    if request.value(b"expect") is not None:
        return True
    line = request.raw.partition(b"\n")[0].rstrip()
    options = (request.value(b"connection") or b"").split(b",")
    return line.endswith(b"HTTP/1.0") or any(option.strip() == b"close" for option in options)
