"""One HTTP request: its channels, its body, its replies."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engine.errors import BadRequest, EngineError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
DRAIN_FACTOR = 8
"""Up to this many times the body limit is read and thrown away, so that the 413 reaches a client still sending."""


class ClientGone(EngineError):
    """The client closed its connection; there is nobody to answer."""


class Request:
    """One HTTP request: scope, channels, headers by name. `key` tells whose it is; "" when no keys are asked for."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.receive, self.send = receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.received_ns = time.monotonic_ns()
        given = self.headers.get(b"x-request-id", b"")
        usable = 0 < len(given) <= 128 and all(33 <= byte <= 126 for byte in given)
        self.id = given if usable else secrets.token_hex(12).encode()
        self.key = ""
        self.answered = False

    async def reply(
        self, status: int, body: bytes, headers: Headers | None = None, kind: bytes = b"application/json"
    ) -> None:
        """Send a whole response."""
        length = (b"content-length", b"%d" % len(body))
        await self.start(status, [(b"content-type", kind), length, *(headers or [])])
        await self.send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Headers) -> None:
        """Send a response's head."""
        self.answered = True
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [*headers, (b"x-request-id", self.id)]}
        )

    async def until_gone(self) -> None:
        """Return when the client disconnects. The body must have been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


Handler = Callable[[Request], Awaitable[None]]


async def read_body(request: Request, limit: int, timeout_s: float) -> bytes:
    """The whole body. Raises BadRequest when it is no JSON, larger than `limit` bytes or slower than `timeout_s`."""
    kind = request.headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if kind != b"application/json" and not kind.endswith(b"+json"):
        raise BadRequest(
            415, "The body must be JSON: send Content-Type: application/json.", code="unsupported_media_type"
        )
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise BadRequest(415, "Compressed bodies are not taken.", code="unsupported_content_encoding")
    size = 0
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone("the client went away while sending")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                if not message.get("more_body") or size > DRAIN_FACTOR * limit:
                    break
    except TimeoutError as error:
        raise BadRequest(408, f"The body was not complete after {timeout_s:g} s.", code="body_too_slow") from error
    if size > limit:
        raise BadRequest(413, f"The body is larger than {limit} bytes.", code="body_too_large")
    request.received_ns = time.monotonic_ns()
    return b"".join(chunks)
