"""Request bodies: words that no server has seen before, and the same sampling for every server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(rng: np.random.Generator, count: int) -> str:
    """`count` words of three letters; each is one token of the random-weight models (see shapes)."""
    return " ".join("".join(_LETTERS[i] for i in row) for row in rng.integers(0, 26, size=(count, 3)))


@dataclass(frozen=True, slots=True)
class Ask:
    """One chat request, still to be dressed for a server (peers differ in how an end token is kept away)."""

    user: str
    max_tokens: int
    system: str = ""
    seed: int = 0
    stream: bool = True
    key: str = ""
    """API key to send."""
    extra: dict[str, Any] = field(default_factory=dict)

    def body(self, end_tokens: Sequence[int] = ()) -> bytes:
        """JSON. `end_tokens` are banned by logit_bias, for servers that do not know `ignore_eos`."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        document: dict[str, Any] = {
            "messages": [*messages, {"role": "user", "content": self.user}],
            "max_tokens": self.max_tokens,
            "stream": self.stream,
            "temperature": 0.8,
            "top_k": 40,
            "top_p": 0.95,
            "min_p": 0.0,
            "seed": self.seed,
            "ignore_eos": True,
        }
        if self.stream:
            document["stream_options"] = {"include_usage": True}
        if end_tokens:
            document["logit_bias"] = {str(token): -100.0 for token in end_tokens}
        return msgspec.json.encode(document | self.extra)


def chats(seed: int, count: int, prompt_words: int, max_tokens: int) -> list[Ask]:
    """`count` requests without a common beginning. Lengths vary by half around both means, so clients do not march in
    step; the totals are the same for every server that gets the same seed."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        factor = float(rng.uniform(0.5, 1.5))
        size, length = max(1, round(prompt_words * rng.uniform(0.5, 1.5))), max(1, round(max_tokens * factor))
        made.append(Ask(words(rng, size), length, seed=seed * 100_003 + index))
    return made


def endless(seed: int, prompt_words: int, max_tokens: int, key: str = "") -> Iterator[Ask]:
    """Requests of one size without end, each of its own words."""
    rng = np.random.default_rng(seed)
    for index in itertools.count():
        yield Ask(words(rng, prompt_words), max_tokens, seed=seed * 100_003 + index, key=key)


def poisson(seed: int, rate: float, seconds: float, asks: Iterator[Ask]) -> list[tuple[float, Ask]]:
    """(due in seconds, request): arrivals of a Poisson process of `rate` a second."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1.0 / rate, size=round(rate * seconds * 1.5) + 50))
    return [(float(due_s), next(asks)) for due_s in due[due < seconds]]
