"""What is remembered of a finished request: one JSON line in the log, one OpenTelemetry span."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from engine.config import EngineConfig
from engine.errors import ConfigError

TEXT_CHARS = 32_768
"""Prompts and answers of one request are cut to so many characters in all: a line has a bound, whatever is sent."""
_NAME_CHARS = 256
_WAITING_LINES = 10_000
_STDERR = 2


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A finished request, whatever came of it. Times are monotonic nanoseconds, 0 where it did not get so far."""

    id: str
    """The x-request-id."""
    api: str
    """chat, text_completion, embeddings, tokenize, detokenize, moderations."""
    model: str
    """As asked for, else what is served."""
    outcome: str
    """As in seatrial_requests_total: ok, cancelled, shed, unavailable, error, refused, deadline."""
    status: int
    """HTTP status; 499 when the client left before there was one."""
    received_ns: int
    ended_ns: int
    admitted_ns: int = 0
    first_token_ns: int = 0
    streamed: bool = False
    response_id: str = ""
    served_model: str = ""
    finish_reasons: tuple[str, ...] = ()
    """One for each choice."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    error: str = ""
    """The code of the error that it ended with."""
    key: str = ""
    """A hash of the API key, never the key."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Those of max_tokens, temperature, top_p, top_k, seed, frequency_penalty, presence_penalty, n that were given."""
    traceparent: str = ""
    """The client's W3C header."""
    prompt: tuple[tuple[str, str], ...] = ()
    """(role, text) of each message; empty unless `Recorder.wants_text`."""
    answers: tuple[str, ...] = ()
    """The text of each choice; empty unless `Recorder.wants_text`."""


class _Spans(Protocol):
    def record(self, record: RequestRecord, address: tuple[str, int]) -> None: ...
    def close(self, within_s: float) -> None: ...


class Recorder:
    """Hands each finished request to the log and to the spans, whichever are wanted. It never waits for either.

    Raises ConfigError when spans are wanted and cannot be made.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._with_text = config.log_prompts
        self._address = (config.host, config.port)
        self._lines = LineWriter(_STDERR) if config.log_requests else None
        self._spans = _open_spans(config) if config.otel_endpoint else None

    @property
    def wants_text(self) -> bool:
        """Whether prompts and answers are to be in the records."""
        return self._with_text and (self._lines is not None or self._spans is not None)

    def listens_on(self, host: str, port: int) -> None:
        """Where the server can be reached, for the spans."""
        self._address = (host, port)

    def record(self, record: RequestRecord) -> None:
        """A request is over."""
        if self._lines is not None:
            self._lines.put(line_of(record, with_text=self._with_text))
        if self._spans is not None:
            self._spans.record(record, self._address)

    def close(self, within_s: float = 1.0) -> None:
        """Write and send what is still waiting, for at most so long."""
        until_s = time.monotonic() + within_s
        if self._lines is not None:
            self._lines.close(within_s)
        if self._spans is not None:
            self._spans.close(max(0.0, until_s - time.monotonic()))


def _open_spans(config: EngineConfig) -> _Spans:
    try:
        from engine.api.spans import Spans  # its packages are an extra
    except ImportError as error:
        raise ConfigError(
            "otel_endpoint",
            f"spans need a package that is not installed ({error.name})",
            "install it with `pip install 'seatrial[otel]'`, or leave otel_endpoint empty",
        ) from error
    return Spans(config)


def line_of(record: RequestRecord, *, with_text: bool) -> bytes:
    """The record as one line of JSON. Its length is bounded."""
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(wall_ns(record.ended_ns) / 1e9, UTC).isoformat(timespec="milliseconds"),
        "event": "request",
        "id": _cut(record.id),
        "api": record.api,
        "model": _cut(record.model),
        "outcome": record.outcome,
        "status": record.status,
        "streamed": record.streamed,
        "finish": record.finish_reasons[:_NAME_CHARS],
        "error": _cut(record.error) or None,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cached_tokens": record.cached_tokens,
        "queue_s": seconds(record.received_ns, record.admitted_ns),
        "ttft_s": seconds(record.received_ns, record.first_token_ns),
        "e2e_s": seconds(record.received_ns, record.ended_ns),
        "key": _cut(record.key) or None,
    }
    if with_text:
        texts = bounded([text for _role, text in record.prompt], TEXT_CHARS)
        roles = [_cut(role) for role, _text in record.prompt]
        line["prompt"] = [{"role": role, "text": text} for role, text in zip(roles, texts, strict=False)]
        line["answers"] = list(bounded(record.answers, TEXT_CHARS))
    return msgspec.json.encode(line) + b"\n"


def seconds(start_ns: int, end_ns: int) -> float | None:
    """From one time to another; None when the second one never came."""
    return round((end_ns - start_ns) / 1e9, 6) if end_ns else None


def wall_ns(monotonic_ns: int) -> int:
    """The time of day (nanoseconds since 1970) of a monotonic time."""
    return time.time_ns() - (time.monotonic_ns() - monotonic_ns)


def bounded(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The texts until `characters` are used up; the last one may be cut, which is shown."""
    for text in texts:
        yield _encodable(text) if len(text) <= characters else _encodable(text[:characters]) + "…"
        characters -= len(text)
        if characters <= 0:
            return


def _cut(name: str) -> str:
    return _encodable(name[:_NAME_CHARS])


def _encodable(text: str) -> str:
    """Half a surrogate pair is no character and would fail to be written."""
    return text.encode("utf-8", "replace").decode()


class LineWriter:
    """Writes lines to a descriptor in a thread of its own: a reader that has stopped reading a pipe stops only that."""

    def __init__(self, descriptor: int, write: Callable[[int, bytes], int] = os.write) -> None:
        self._descriptor, self._write = descriptor, write
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._news = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Have a line written soon; it is dropped and counted when too many wait already."""
        if len(self._waiting) >= _WAITING_LINES:
            self._lost += 1
            return
        if self._lost:
            self._waiting.append(msgspec.json.encode({"event": "lines_lost", "count": self._lost}) + b"\n")
            self._lost = 0
        self._waiting.append(line)
        self._news.set()

    def close(self, within_s: float) -> None:
        """Write what waits, for at most so long."""
        self._closing = True
        self._news.set()
        self._thread.join(within_s)

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            closing = self._closing
            while self._waiting:
                try:
                    self._write_all(self._waiting.popleft())
                except OSError:
                    return  # nobody will ever read it: the put side drops what no longer fits
            if closing:
                return

    def _write_all(self, line: bytes) -> None:
        while line:
            line = line[self._write(self._descriptor, line) :]
