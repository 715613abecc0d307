"""Answers in OpenAI's shapes, streamed and whole."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.wire import TokenLogprob

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; a prompt counts once, however many answers it got."""

    prompt: int
    completion: int
    cached: int
    """Prompt tokens that need not be computed."""

    def fields(self) -> dict[str, Any]:
        """OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


class Shape:
    """The fields that every part of one answer shares. `chat` says which of the two APIs is spoken."""

    def __init__(
        self, *, chat: bool, id: str, created: int, model: str, fingerprint: str, choices: int = 1, usage: bool = False
    ) -> None:
        """usage: every chunk carries "usage": null, and a last one the numbers (stream_options.include_usage)."""
        self.chat = chat
        self.id = ("chatcmpl-" if chat else "cmpl-") + id
        self._created, self._model, self._fingerprint = created, model, fingerprint
        self._head = b"data: " + _encode(self._frame("chat.completion.chunk" if chat else "text_completion"))[:-1]
        self._tail = b"]%s}\n\n" % (b',"usage":null' if usage else b"")
        field = b'"delta":{"content":' if chat else b'"text":'
        # What surrounds the text of a chunk is the same from token to token.
        self._before = [self._head + b',"choices":[{"index":%d,' % index + field for index in range(choices)]
        self._after = (b"}" if chat else b"") + b',"logprobs":null,"finish_reason":null}' + self._tail

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._fingerprint,
        }

    def first(self, index: int) -> bytes:
        """The role chunk of a chat stream; nothing for completions."""
        return self.delta(index, {"role": "assistant", "content": ""}) if self.chat else b""

    def text(self, index: int, text: str, logprobs: dict[str, Any] | None = None) -> bytes:
        """A chunk of text."""
        if logprobs is None:
            return self._before[index] + _encode(text) + self._after
        return self._chunk(index, {"delta": {"content": text}} if self.chat else {"text": text}, logprobs, None)

    def delta(self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> bytes:
        """A chunk of a chat answer that is not text alone."""
        return self._chunk(index, {"delta": delta}, logprobs, None)

    def last(self, index: int, finish: str) -> bytes:
        """The chunk with the finish reason."""
        return self._chunk(index, {"delta": {}} if self.chat else {"text": ""}, None, finish)

    def usage_chunk(self, usage: Usage) -> bytes:
        """The chunk with the token counts."""
        return self._head + b',"choices":[],"usage":' + _encode(usage.fields()) + b"}\n\n"

    def choice(
        self, index: int, text: str, finish: str, calls: Sequence[dict[str, Any]], logprobs: dict[str, Any] | None
    ) -> dict[str, Any]:
        """One choice of a whole answer; `calls` are OpenAI's tool_calls."""
        choice: dict[str, Any] = {"index": index}
        if self.chat:
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
            if calls:
                message |= {"content": text or None, "tool_calls": calls}
            choice["message"] = message
        else:
            choice["text"] = text
        return choice | {"logprobs": logprobs, "finish_reason": finish}

    def whole(self, choices: Sequence[dict[str, Any]], usage: Usage) -> bytes:
        """The whole answer."""
        kind = "chat.completion" if self.chat else "text_completion"
        return _encode({**self._frame(kind), "choices": choices, "usage": usage.fields()})

    def _chunk(self, index: int, body: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None) -> bytes:
        choice = {"index": index, **body, "logprobs": logprobs, "finish_reason": finish}
        return self._head + b',"choices":[' + _encode(choice) + self._tail


class ChatLogprobs:
    """Tokens and probabilities as chat answers carry them."""

    def shape(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """The logprobs object of these tokens."""
        return {
            "content": [
                {**_named(t.token, t.logprob), "top_logprobs": [_named(piece, p) for piece, p in t.top]} for t in tokens
            ]
        }


class CompletionLogprobs:
    """Tokens and probabilities as plain completions carry them. Of one answer: offsets count from its beginning."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def shape(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """The logprobs object of these tokens, which follow those of the calls before.

        text_offset: characters of the answer's text before the one in which the token begins.
        """
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(token.token))
        return {
            "tokens": [_readable(t.token) for t in tokens],
            "token_logprobs": [t.logprob for t in tokens],
            "top_logprobs": [{_readable(piece): p for piece, p in t.top} for t in tokens],
            "text_offset": offsets,
        }


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def _named(piece: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _readable(piece), "logprob": logprob, "bytes": list(piece)}


def _readable(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")
