"""What came of one planned request. One for each, always, failures included. Times are ns from the run's start."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """Exactly one for each request; the sum over a run is the number planned."""

    OK = "ok"
    SHED = "shed"  # 429 or 503 with Retry-After
    REFUSED = "refused"  # connection refused or not established
    TIMEOUT = "timeout"
    RESET = "reset"  # connection lost before the end of the answer
    TRUNCATED = "truncated"  # stream or body ended early without its terminator
    MALFORMED = "malformed"  # an answer that is no valid HTTP, SSE or JSON, or a 200 that carries an error
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    CANCELLED = "cancelled"  # hung up by us, on purpose or at the end of the run
    UNSENT = "unsent"  # never written: the run ended or the harness failed first


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one request; the latencies of DESIGN.md are all derived from it.

    `due_ns` is when it really was due: for a request that follows another that depends on when the other ended. With
    more than one attempt, `sent_ns` is of the first and all else of the last.
    """

    index: int
    due_ns: int
    outcome: Outcome
    end_ns: int
    sent_ns: int | None = None
    first_ns: int | None = None  # first event with text or reasoning text
    answer_ns: int | None = None  # first event with answer text
    last_ns: int | None = None  # last event with text
    event_ns: tuple[int, ...] = ()  # every event with text
    status: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None  # the server's usage; None when it gave none
    finish_reason: str = ""
    answer: str = ""
    error: str = ""
    retry_after_s: float | None = None
    worker: int = 0
    attempts: int = 1
    begun: int = 0  # attempts that the target began to answer
    fingerprint: str = ""  # model and system_fingerprint as the answer names them


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the harness thinks of the content of one observation, kept beside it."""

    index: int
    correct: bool | None = None  # None: no expectation, or it did not end well


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a safety detector says about one text of one observation."""

    index: int
    category: str
    severity: str  # "low" | "medium" | "high"
    start: int  # span in the text, characters
    end: int
    detector: str
    where: str = "answer"  # "answer" | "prompt"
    excerpt: str = ""
