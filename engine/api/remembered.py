"""Whole answers from memory: which requests may have one, and an answer's way into the response cache and out of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from engine.api.choice import Choice
from engine.api.job import Job, cache_key
from engine.api.response_cache import ResponseCache
from engine.api.tickets import Arrival, Ticket
from engine.wire import Output, TokenLogprob


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """One choice as it is kept."""

    text: str
    tokens: int
    finish: str
    prompt_tokens: int
    logprobs: list[TokenLogprob] | None


_decoder = msgspec.msgpack.Decoder(Answer)


class Remembered:
    """The answers of requests that always get the same one. isolated: each API key has its own."""

    def __init__(self, limit_bytes: int, *, isolated: bool) -> None:
        self._cache = ResponseCache(limit_bytes)
        self._isolated = isolated

    def keys_of(self, job: Job) -> list[bytes]:
        """The keys of the job's choices; none when another answer could come next time."""
        if not job.repeatable:
            return []
        return [cache_key(command, isolated=self._isolated) for command in job.commands]

    def find(self, keys: Sequence[bytes], received_ns: int) -> list[Ticket] | None:
        """A finished ticket for each choice; None unless all are known. No prompt token had to be computed for them."""
        found = [self._cache.get(key) for key in keys]
        now_ns = time.monotonic_ns()
        tickets: list[Ticket] = []
        for packed in found:
            if packed is None:
                return None
            known = _decoder.decode(packed)
            ticket = Ticket(0, received_ns, admitted_ns=now_ns)
            ticket.prompt_tokens = ticket.cached_tokens = known.prompt_tokens
            ticket.put(Arrival(now_ns, Output(0, known.text, known.tokens, known.finish, logprobs=known.logprobs)))
            tickets.append(ticket)
        return tickets

    def keep(self, keys: Sequence[bytes], choices: Sequence[Choice]) -> None:
        """The choices are complete."""
        for key, choice in zip(keys, choices, strict=True):
            logprobs = choice.token_logprobs or None
            answer = Answer(choice.text, choice.tokens, choice.finish, choice.ticket.prompt_tokens, logprobs)
            self._cache.put(key, msgspec.msgpack.encode(answer))
