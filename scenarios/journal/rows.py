"""Structs as rows and back, and what redaction takes from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scenarios.observation import Finding, Observation, Outcome
from scenarios.request import Expectation, PlannedRequest

Row = tuple[Any, ...]

PLAIN = (
    "index", "outcome", "due_ns", "end_ns", "sent_ns", "first_ns", "answer_ns", "last_ns", "status", "prompt_tokens",
    "completion_tokens", "finish_reason", "retry_after_s", "worker", "attempts", "begun", "fingerprint", "error",
)  # fmt: skip
"""The fields of an observation that are columns of its row, in their order; `event_ns` and `answer` are packed."""

_OUR_WORDS = frozenset({Outcome.REFUSED, Outcome.TIMEOUT, Outcome.RESET, Outcome.CANCELLED, Outcome.UNSENT})
"""Outcomes whose error text never quotes the server."""


def observation_row(observation: Observation, error: str, chars: int, digest: bytes | None, block: int | None) -> Row:
    """A row of `observation`: PLAIN, then the answer's length in characters, its hash, and where it is."""
    o = observation
    return (
        o.index, o.outcome.value, o.due_ns, o.end_ns, o.sent_ns, o.first_ns, o.answer_ns, o.last_ns, o.status,
        o.prompt_tokens, o.completion_tokens, o.finish_reason, o.retry_after_s, o.worker, o.attempts, o.begun,
        o.fingerprint, error, chars, digest, block,
    )  # fmt: skip


def observation_of(plain: Sequence[Any], event_ns: tuple[int, ...], answer: str) -> Observation:
    """The observation of a row's PLAIN columns."""
    fields = dict(zip(PLAIN, plain, strict=True)) | {"event_ns": event_ns, "answer": answer}
    return msgspec.convert(fields, Observation)


def plan_row(request: PlannedRequest, block: int) -> Row:
    """A row of `plan`; the request itself is in `block`."""
    hangs_up = request.hang_up_after_s > 0 or request.hang_up_after_events > 0
    return (
        request.index, request.due_ns, request.after, request.think_s, request.profile, request.era, hangs_up, block,
    )  # fmt: skip


def finding_row(finding: Finding, redacted: bool) -> Row:
    """A row of `finding`, less its id."""
    f = finding
    excerpt = "" if redacted else f.excerpt
    return f.index, f.category, f.severity, f.start, f.end, f.detector, f.where, excerpt


def finding_of(row: Row) -> Finding:
    """The finding of a row of `finding`, less its id."""
    index, category, severity, start, end, detector, where, excerpt = row
    return Finding(
        index=index, category=category, severity=severity, start=start, end=end, detector=detector, where=where,
        excerpt=excerpt,
    )  # fmt: skip


def redacted_request(request: PlannedRequest) -> PlannedRequest:
    """The request without anything that it says: when and how it was sent stays."""
    return msgspec.structs.replace(
        request, body=b"", raw=b"", headers=(), prompt_text="", numbers=(), expect=Expectation()
    )


def redacted_error(observation: Observation) -> str:
    """The error text, or its length where it may quote the server and so the prompt."""
    if observation.outcome in _OUR_WORDS or not observation.error:
        return observation.error
    return f"(redacted, {len(observation.error)} characters)"
