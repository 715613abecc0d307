"""From the bytes of a finished exchange to its Observation: the JSON is decoded here, off the hot path.

The outcome, first match wins:
  never written because of us (the run ended, no connection came free, the harness failed) -> unsent; never written
  because no connection came about -> refused, reset or timeout, where those stand below; hung up by us -> cancelled;
  a final status other than 2xx decides by itself, whatever becomes of its body (429 and 503 with Retry-After shed; 3xx
  and 4xx http_4xx: redirects are not followed, the target refused the request where it was sent; 5xx http_5xx); then
  timeout; broken HTTP, SSE, JSON or UTF-8, or a 2xx body with an error in it (malformed); an error event in a sound
  stream (http_5xx: the server said that it failed); reset; truncated, which a stream also is that says [DONE] but gave
  no finish_reason (llama_cpp.server ends an answer so when the next request interrupts it).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

from scenarios.load.chunk import (
    UNREADABLE,
    Chunk,
    Usage,
    decode_any,
    decode_chunk,
    error_text,
    fingerprint,
    first_fingerprint,
    plain_chunks,
)
from scenarios.load.exchange import Ending, Exchange, Job
from scenarios.load.sse import event_fields
from scenarios.observation import Observation, Outcome
from scenarios.wall_clock import WALL_CLOCK

_ERROR_LIMIT = 500
_FINISH_LIMIT = 100
_FINGERPRINT_LIMIT = 200
_NAMED_WITHIN = 4  # events, before an answer counts as one that does not name its model
_LEAST_SECRET = 8  # characters: anything shorter is no secret, and may be part of any answer
_SLICE = 32  # events decoded between two looks at the clock


def to_hide(secrets: Sequence[str]) -> tuple[str, ...]:
    """What must not stand in an observation, a server may echo it: these values and their words, longest first."""
    found = {part for secret in secrets for part in (secret, *secret.split()) if len(part) >= _LEAST_SECRET}
    return tuple(sorted(found, key=lambda part: (-len(part), part)))


class Reading:
    """One finished exchange being decoded, in slices, so that a long answer does not hold up the sockets.

    `step` does at most `budget_ns` of work and returns the Observation once there is one. Times in it are from `t0_ns`.
    `secrets` are as `to_hide` returns them.
    """

    __slots__ = (
        "_answer_ns", "_breach", "_error", "_event_ns", "_exchange", "_fingerprint", "_finish", "_first_ns",
        "_next", "_secrets",
        "_t0_ns", "_texts", "_usage", "_worker",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, t0_ns: int, worker: int, secrets: Sequence[str] = ()) -> None:
        self._exchange = exchange
        self._t0_ns = t0_ns
        self._worker = worker
        self._secrets = secrets
        self._next = 0
        self._texts: list[str] = []
        self._event_ns: list[int] = []
        self._first_ns: int | None = None
        self._answer_ns: int | None = None
        self._usage = Usage()
        self._finish = ""
        self._fingerprint = ""
        self._error = ""  # what an error event or error body said
        self._breach = ""  # what is wrong with the answer's form

    @property
    def job(self) -> Job:
        return self._exchange.job

    def step(self, budget_ns: int) -> Observation | None:
        splitter = self._exchange.splitter
        if splitter is not None:
            deadline_ns = time.monotonic_ns() + budget_ns
            if not self._next:
                self._fingerprint = first_fingerprint(splitter.events[:_NAMED_WITHIN])
            done = len(splitter.events) - splitter.done  # [DONE] goes alone: no JSON, it would spoil its slice
            while self._next < len(splitter.events) and not self._breach:
                end = min(self._next + _SLICE, done) if self._next < done else done + 1
                self._take_events(splitter.times_ns[self._next : end], splitter.events[self._next : end])
                self._next = end
                if time.monotonic_ns() >= deadline_ns and self._next < len(splitter.events):
                    return None
        return self._observation()

    def failed(self, reason: str) -> Observation:
        """The observation of an exchange that the harness itself could not read."""
        exchange = self._exchange
        return Observation(
            index=exchange.job.index,
            due_ns=exchange.due_ns - self._t0_ns,
            outcome=Outcome.UNSENT if exchange.sent_ns is None else Outcome.CANCELLED,
            end_ns=exchange.end_ns - self._t0_ns,
            sent_ns=None if exchange.sent_ns is None else exchange.sent_ns - self._t0_ns,
            status=exchange.status,
            error=self._redacted(reason)[:_ERROR_LIMIT],
            worker=self._worker,
            begun=int(exchange.status is not None),
        )

    def _take_events(self, times_ns: list[int], events: list[bytes]) -> None:
        """Events as lines of JSON, decoded in one go where each is just that, else one by one."""
        chunks = plain_chunks(events)
        if chunks is None:
            for time_ns, raw in zip(times_ns, events, strict=True):
                self._take_event(time_ns, raw)
                if self._breach:
                    return
            return
        for time_ns, chunk in zip(times_ns, chunks, strict=True):
            self._take_chunk(chunk, time_ns)

    def _take_event(self, time_ns: int, raw: bytes) -> None:
        try:
            name, data = event_fields(raw)
            if not data or data.strip() == "[DONE]":
                return
            if name == "error":
                self._error = self._error or error_text(data)
                return
            chunk = decode_chunk(data)
        except UNREADABLE as error:
            self._breach = f"event {len(self._event_ns)}: {error}"
            return
        if chunk.error is not None:
            self._error = self._error or error_text(data)
            return
        self._take_chunk(chunk, time_ns)

    def _take_chunk(self, chunk: Chunk, time_ns: int) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage
        said = answered = False
        for choice in chunk.choices or ():
            content = choice.content
            if content:
                said = answered = True
                if choice.index == 0:
                    self._texts.append(content)
            else:
                said = said or choice.reasons
            if choice.finish_reason and choice.index == 0:
                self._finish = choice.finish_reason
        if said:
            stamp_ns = time_ns - self._t0_ns
            self._event_ns.append(stamp_ns)
            if self._first_ns is None:
                self._first_ns = stamp_ns
            if answered and self._answer_ns is None:
                self._answer_ns = stamp_ns

    def _take_body(self) -> None:
        exchange = self._exchange
        body = b"".join(exchange.body)
        job = exchange.job
        if exchange.inflate is not None and not exchange.inflate.eof:
            self._breach = "the compressed body stops in the middle"
            return
        is_json = exchange.content_type == "application/json" or exchange.content_type.endswith("+json")
        if not is_json:
            if job.contract:
                self._breach = f"content type {exchange.content_type[:80]!r} instead of " + (
                    "text/event-stream" if job.stream else "application/json"
                )
            return
        if job.head or (job.raw and not body):
            return
        try:
            body.decode()
            chunk = decode_chunk(body) if job.contract else Chunk()
            if not job.contract:
                decode_any(body)
        except UNREADABLE as error:
            self._breach = f"body: {error}"
            return
        if chunk.error is not None:
            self._breach = f"status {exchange.status} with an error in it: {error_text(body.decode())}"
        elif job.contract and job.stream:
            self._breach = "a JSON body where a stream was asked for"
        else:
            self._fingerprint = fingerprint(body) if job.contract else ""
            self._take_chunk(chunk, exchange.end_ns)

    def _observation(self) -> Observation:
        exchange = self._exchange
        if exchange.ending is Ending.COMPLETE and exchange.succeeded:
            if exchange.splitter is None:
                self._take_body()
            elif exchange.job.contract and not exchange.job.stream:
                self._breach = self._breach or "content type 'text/event-stream' instead of application/json"
        outcome, error = self._outcome()
        sent_ns = exchange.sent_ns
        return Observation(
            index=exchange.job.index,
            due_ns=exchange.due_ns - self._t0_ns,
            outcome=outcome,
            end_ns=exchange.end_ns - self._t0_ns,
            sent_ns=None if sent_ns is None else sent_ns - self._t0_ns,
            first_ns=self._first_ns,
            answer_ns=self._answer_ns,
            last_ns=self._event_ns[-1] if self._event_ns else None,
            event_ns=tuple(self._event_ns),
            status=exchange.status,
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
            finish_reason=self._redacted(self._finish)[:_FINISH_LIMIT],
            answer=self._redacted("".join(self._texts)),
            error=self._redacted(error)[:_ERROR_LIMIT],
            retry_after_s=retry_after_s(exchange.retry_after, exchange.date),
            worker=self._worker,
            begun=int(exchange.status is not None),
            fingerprint=self._redacted(self._fingerprint)[:_FINGERPRINT_LIMIT],
        )

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[api key]")
        return text

    def _outcome(self) -> tuple[Outcome, str]:
        exchange = self._exchange
        ending = exchange.ending
        if ending is Ending.UNSENT:
            return Outcome.UNSENT, exchange.reason
        if ending is Ending.HUNG_UP or ending is Ending.STOPPED:
            return Outcome.CANCELLED, exchange.reason
        status = exchange.status
        if status is not None and 300 <= status <= 599:
            said = error_text(b"".join(exchange.body).decode("utf-8", "replace"))
            said = said or exchange.reason or f"status {status}"
            if status in (429, 503) and exchange.retry_after is not None:
                return Outcome.SHED, said
            return (Outcome.HTTP_4XX if status < 500 else Outcome.HTTP_5XX), said
        if ending is Ending.TIMEOUT:
            return Outcome.TIMEOUT, exchange.reason
        if ending is Ending.BREACH or self._breach:
            return Outcome.MALFORMED, self._breach or exchange.reason
        if self._error:
            return Outcome.HTTP_5XX, self._error
        if ending is Ending.REFUSED:
            return Outcome.REFUSED, exchange.reason
        if ending is Ending.RESET or (ending is Ending.EOF and not exchange.received_bytes):
            return Outcome.RESET, exchange.reason or "closed without an answer"
        if ending is Ending.EOF:
            return Outcome.TRUNCATED, exchange.reason or "closed before the end of the answer"
        if exchange.splitter is not None and exchange.job.contract and not self._finish:
            return Outcome.TRUNCATED, "the stream ended in order, but without a finish_reason"
        return Outcome.OK, ""


def retry_after_s(value: str | None, date: str | None) -> float | None:
    """Retry-After in seconds: a number, or an HTTP date against the answer's own Date (or now). None for neither."""
    if value is None:
        return None
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return min(float(value), 1e9)
    when = _seconds(value)
    if when is None:
        return None
    now = _seconds(date) if date else None
    return max(0.0, when - (WALL_CLOCK.now_s() if now is None else now))


def _seconds(date: str) -> float | None:
    """An HTTP date in seconds since 1970; None where it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
