"""One generation: from an admitted request to its answer, streamed or whole, with the client's leaving watched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from engine.api import shapes
from engine.api.http import error_body
from engine.api.link import DecodeLink
from engine.api.metrics import Metrics
from engine.api.shapes import Shape
from engine.api.tickets import Ticket
from engine.errors import ContextExceeded, EngineError, Overloaded, RequestError, Unavailable
from engine.wire import Output, Submit, TokenLogprob

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class ClientGone(EngineError):
    """The client closed its connection; there is nobody to answer."""


@dataclass(slots=True)
class Progress:
    """What one answer has brought so far; observes the latency metrics as it goes."""

    metrics: Metrics
    ticket: Ticket
    ctx: int
    last_ns: int = 0
    completion_tokens: int = 0
    finish: str = ""
    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def add(self, output: Output) -> None:
        """Count one output. Raises RequestError when it is a failure."""
        if output.finish in ("refused", "error", "unavailable", "cancelled"):
            raise failure_of(output, self.ctx)
        now_ns = time.monotonic_ns()
        if output.tokens:
            if self.last_ns:
                self.metrics.itl.observe((now_ns - self.last_ns) / 1e9)
            else:
                self.metrics.ttft.observe((now_ns - self.ticket.received_ns) / 1e9)
            self.last_ns = now_ns
        self.completion_tokens += output.tokens
        self.finish = output.finish


@dataclass(slots=True)
class Generation:
    """Everything that answers one request need."""

    link: DecodeLink
    metrics: Metrics
    shape: Shape
    streamed: bool
    include_usage: bool
    wants_logprobs: bool
    ctx: int
    headers: Headers

    async def run(self, command: Callable[[int], Submit], received_ns: int, receive: Receive, send: Send) -> None:
        """Submit and answer. Raises RequestError before the first byte was sent, ClientGone at any time."""
        outcome = "error"
        try:
            ticket = self.link.submit(command, received_ns)
        except Overloaded:
            self.metrics.requests.labels("shed").inc()
            raise
        except Unavailable:
            self.metrics.requests.labels("unavailable").inc()
            raise
        watcher = asyncio.create_task(_until_gone(receive, ticket), name=f"gone-{ticket.id}")
        progress = Progress(self.metrics, ticket, self.ctx)
        try:
            await self._next(progress, watcher, admission=True)
            if self.streamed:
                outcome = await self._stream(progress, watcher, send)
            else:
                await self._collect(progress, watcher, send)
                outcome = "ok"
        except ClientGone:
            outcome = "cancelled"
            raise
        except RequestError as error:
            outcome = "refused" if error.status < 500 else "unavailable" if error.status == 503 else "error"
            raise
        finally:
            self.metrics.requests.labels(outcome).inc()
            if outcome == "ok":
                self.metrics.e2e.observe((time.monotonic_ns() - received_ns) / 1e9)
            self.link.close_ticket(ticket)
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _next(self, progress: Progress, watcher: asyncio.Task[None], *, admission: bool = False) -> list[Output]:
        """Wait for outputs; with `admission` for a slot only, leaving outputs where they are."""
        ticket = progress.ticket
        while True:
            if watcher.done() and not ticket.finished:
                raise ClientGone("the client went away")
            if admission:
                if ticket.mailbox and ticket.mailbox[0].finish in ("refused", "error", "unavailable", "cancelled"):
                    raise failure_of(ticket.mailbox[0], self.ctx)
                if ticket.admitted_ns or ticket.mailbox:
                    return []
                ticket.changed.clear()
            elif ticket.mailbox:
                return ticket.take()
            else:
                ticket.changed.clear()
            await ticket.changed.wait()

    async def _stream(self, progress: Progress, watcher: asyncio.Task[None], send: Send) -> str:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                    *self.headers,
                ],
            }
        )
        shape = self.shape
        if self.include_usage:
            shape.want_usage()
        if first := shape.first():
            await send({"type": "http.response.body", "body": first, "more_body": True})
        outcome = "ok"
        while not progress.finish:
            events: list[bytes] = []
            try:
                for output in await self._next(progress, watcher):
                    progress.add(output)
                    if output.text or output.logprobs:
                        events.append(shape.text(output.text, output.logprobs))
            except RequestError as error:
                # The status line is out: the error becomes the stream's last event.
                events.append(b"data: " + error_body(error) + b"\n\n")
                progress.finish = outcome = "unavailable" if error.status == 503 else "error"
            else:
                if progress.finish:
                    events.append(shape.last(progress.finish))
                    if self.include_usage:
                        events.append(shape.usage_chunk(progress.ticket.prompt_tokens, progress.completion_tokens))
                    events.append(shapes.DONE)
            if events:
                await send({"type": "http.response.body", "body": b"".join(events), "more_body": not progress.finish})
        return outcome

    async def _collect(self, progress: Progress, watcher: asyncio.Task[None], send: Send) -> None:
        while not progress.finish:
            for output in await self._next(progress, watcher):
                progress.add(output)
                progress.text.append(output.text)
                progress.logprobs += output.logprobs or ()
        body = self.shape.whole(
            "".join(progress.text),
            progress.finish,
            progress.ticket.prompt_tokens,
            progress.completion_tokens,
            progress.logprobs if self.wants_logprobs else None,
        )
        await respond(send, 200, body, self.headers)


def failure_of(output: Output, ctx: int) -> RequestError:
    """The HTTP error that a failed output means."""
    if output.finish == "refused":
        if output.error:
            return RequestError(400, output.error, param="messages", code="invalid_value")
        return ContextExceeded(ctx, f"{output.prompt_tokens} tokens")
    if output.finish == "unavailable":
        return Unavailable(f"The request was lost: {output.error}.", code="engine_restarting")
    if output.finish == "cancelled":
        return Unavailable("The request was cancelled by the engine.", code="engine_stopping")
    return RequestError(500, f"The engine failed on this request: {output.error}", type="server_error", code="decode")


async def respond(send: Send, status: int, body: bytes, headers: Headers, kind: bytes = b"application/json") -> None:
    """Send a whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _until_gone(receive: Receive, ticket: Ticket) -> None:
    """Return when the client disconnects, and wake whoever waits on the ticket."""
    while (await receive())["type"] != "http.disconnect":
        pass
    ticket.changed.set()
