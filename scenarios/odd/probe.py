"""One class of odd request and one request of it: values only."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PATIENCE_S = 12.0  # how long a probe waits; a server should itself give up on an unfinished request within 10 s


class OddGroup(StrEnum):
    """What is odd about a request."""

    JSON = "json"
    HTTP = "http"
    SCHEMA = "schema"
    UNICODE = "unicode"
    LIMITS = "limits"
    TOKENS = "tokens"
    BEHAVIOUR = "behaviour"


@dataclass(frozen=True, slots=True)
class Probe:
    """One odd request, ready to be planned.

    Exactly one of `payload` (an object, sent as JSON, with the model's name put in where the target needs one),
    `body` (bytes sent as they are) and `raw` (a whole connection's bytes) is meant to be set.
    """

    payload: Mapping[str, Any] | None = None
    body: bytes = b""
    raw: bytes = b""
    path: str = CHAT
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    raw_chunks_s: float = 0.0
    hang_up_after_s: float = 0.0
    text: str = ""  # the user's own text, where the probe is about text

    @property
    def stream(self) -> bool:
        """Whether the probe asks for a stream of events."""
        return self.payload is not None and self.payload.get("stream") is True


@dataclass(frozen=True, slots=True)
class OddClass:
    """A sort of odd request: how to make one, and what a correct server does with it (see `is_correct`)."""

    name: str
    group: OddGroup
    why: str
    allowed: tuple[str, ...]
    make: Callable[[random.Random], Probe] = field(repr=False)


QUESTIONS = (
    "Where is my order?",
    "What do I pay for delivery to Norway?",
    "Can I return my boots?",
    "How long is the guarantee on a tent?",
)


def chat(rng: random.Random, **changes: Any) -> dict[str, Any]:
    """The payload of an ordinary short chat request, with changes; a change to `...` takes the key out."""
    payload: dict[str, Any] = {
        "messages": [{"role": "user", "content": rng.choice(QUESTIONS)}],
        "max_tokens": 8,
        "temperature": 0,
    }
    payload.update(changes)
    return {key: value for key, value in payload.items() if value is not ...}


def changed(key: str, *values: Any) -> Callable[[random.Random], Probe]:
    """A maker: an ordinary chat request in which one key has one of the values."""
    return lambda rng: Probe(payload=chat(rng, **{key: rng.choice(values)}))


def saying(*texts: str) -> Callable[[random.Random], Probe]:
    """A maker: a streamed chat request whose user says one of the texts."""

    def make(rng: random.Random) -> Probe:
        text = rng.choice(texts)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return Probe(payload=chat(rng, messages=[{"role": "user", "content": text}], **options), text=text)

    return make
