"""One request's generation: from its tickets to its answer, streamed or whole, with the client's leaving watched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.api import shapes
from engine.api.choice import Choice
from engine.api.http import error_body
from engine.api.job import Blame, context_exceeded
from engine.api.metrics import Metrics
from engine.api.request import ClientGone, Request
from engine.api.shapes import Shape, Usage
from engine.api.tickets import Arrival
from engine.errors import BadRequest, RequestError, Unavailable
from engine.wire import Output

FAILURES = frozenset({"refused", "error", "unavailable", "cancelled", "deadline"})
"""Output.finish of a request that has no answer."""


@dataclass(slots=True)
class Generation:
    """Everything that answers one request need; its tickets are open, and the caller closes them."""

    request: Request
    metrics: Metrics
    shape: Shape
    choices: Sequence[Choice]
    per_prompt: int
    """The first so many choices answer the first prompt, and so on."""
    include_usage: bool
    blame: Blame
    headers: list[tuple[bytes, bytes]]
    first_ns: int = 0
    """When the first token of any choice was made (monotonic)."""
    failure: RequestError | None = None
    """What ended the stream after its first byte."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _running: list[Choice] = field(default_factory=list)
    _watcher: asyncio.Task[None] | None = None

    async def run(self, *, streamed: bool) -> None:
        """Answer. Raises RequestError before the first byte was sent, ClientGone at any time."""
        self._running = list(self.choices)
        for choice in self.choices:
            choice.ticket.changed = self._changed  # whichever has news wakes the one that waits
        self._watcher = asyncio.create_task(self._watch(), name=f"gone-{self.request.id.decode()}")
        try:
            await (self._stream() if streamed else self._collect())
        finally:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        firsts = [choice.ticket for choice in self.choices[:: self.per_prompt]]
        return Usage(
            sum(ticket.prompt_tokens for ticket in firsts),
            sum(choice.tokens for choice in self.choices),
            sum(ticket.cached_tokens for ticket in firsts),
        )

    async def _watch(self) -> None:
        await self.request.until_gone()
        self._changed.set()

    async def _news(self, *, admission: bool = False) -> None:
        """Wait until some running choice has an output; with `admission` also until all have a slot."""
        changed = self._changed
        while True:
            changed.clear()
            if self._watcher is None or self._watcher.done():
                raise ClientGone("the client went away")
            for choice in self._running:
                if choice.ticket.mailbox:
                    return
            if admission and all(choice.ticket.admitted_ns for choice in self._running):
                return
            await changed.wait()

    async def _stream(self) -> None:
        # The status line waits for admission: what is refused before it is an answer of its own.
        await self._news(admission=True)
        for choice in self._running:
            for arrival in choice.ticket.mailbox:
                self._check(arrival.output)
        await self.request.start(
            200,
            [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
                *self.headers,
            ],
        )
        send = self.request.send
        if opening := b"".join([choice.opening() for choice in self.choices]):
            await send({"type": "http.response.body", "body": opening, "more_body": True})
        while self._running:
            await self._news()
            events: list[bytes] = []
            try:
                for choice in self._running:
                    for arrival in choice.ticket.take():
                        self._count(choice, arrival)
                        choice.write_events(arrival.output, events)
            except RequestError as error:
                # The status line is out: the error becomes the stream's last event.
                events.append(shapes.event(error_body(error)))
                self.failure, self._running = error, []
            else:
                self._drop_finished()
                if not self._running:
                    if self.include_usage:
                        events.append(self.shape.usage_chunk(self.usage))
                    events.append(shapes.DONE)
            if events:
                await send({"type": "http.response.body", "body": b"".join(events), "more_body": bool(self._running)})

    async def _collect(self) -> None:
        while self._running:
            await self._news()
            for choice in self._running:
                for arrival in choice.ticket.take():
                    self._count(choice, arrival)
            self._drop_finished()
        body = self.shape.whole([choice.whole() for choice in self.choices], self.usage)
        await self.request.reply(200, body, self.headers)

    def _drop_finished(self) -> None:
        for choice in self._running:
            if choice.finish:
                self._running = [other for other in self._running if not other.finish]
                return

    def _check(self, output: Output) -> None:
        if output.finish in FAILURES:
            raise failure_of(output, self.blame)

    def _count(self, choice: Choice, arrival: Arrival) -> None:
        """Observe the latencies and add to the choice. Raises RequestError when the output is a failure."""
        output = arrival.output
        self._check(output)
        if output.tokens:
            if choice.last_ns:
                self.metrics.itl.observe((arrival.t_ns - choice.last_ns) / 1e9)
            elif not self.first_ns:
                self.first_ns = time.monotonic_ns()  # when it is about to be written: until then the client waits
                self.metrics.ttft.observe((self.first_ns - choice.ticket.received_ns) / 1e9)
            choice.last_ns = arrival.t_ns
        choice.add(output)


def failure_of(output: Output, blame: Blame) -> RequestError:
    """The HTTP error that a failed output means."""
    if output.finish == "refused":
        if output.error:
            return BadRequest(400, output.error, param=blame.constraint or blame.prompt, code="invalid_value")
        return context_exceeded(blame.ctx, f"{output.prompt_tokens} tokens", blame.prompt)
    if output.finish == "deadline":
        return RequestError(
            504,
            "The answer was not complete within timeout_s. Give it more time, or ask for fewer tokens.",
            type="timeout",
            param="timeout_s",
            code="deadline_exceeded",
        )
    if output.finish == "unavailable":
        return Unavailable(f"The request was lost: {output.error}.", code="engine_restarting")
    if output.finish == "cancelled":
        return Unavailable("The request was cancelled by the engine.", code="engine_stopping")
    return RequestError(500, f"The engine failed on this request: {output.error}", type="server_error", code="decode")
