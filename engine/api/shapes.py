"""Answers in OpenAI's shapes, streamed and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.wire import TokenLogprob

DONE = b"data: [DONE]\n\n"


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


class Shape:
    """The fields that every part of one answer shares. `chat` says which of the two APIs is spoken."""

    def __init__(self, *, chat: bool, id: str, created: int, model: str, fingerprint: str) -> None:
        self.chat = chat
        self.id = ("chatcmpl-" if chat else "cmpl-") + id
        self._created, self._model, self._fingerprint = created, model, fingerprint
        kind = "chat.completion.chunk" if chat else "text_completion"
        self._usage_null = False
        self._head = msgspec.json.encode(self._frame(kind))[:-1]

    def want_usage(self) -> None:
        """Every chunk carries "usage": null, and a last one the numbers (stream_options.include_usage)."""
        self._usage_null = True

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._fingerprint,
        }

    def _chunk(self, choices: bytes) -> bytes:
        tail = b',"usage":null}\n\n' if self._usage_null else b"}\n\n"
        return b"data: " + self._head + b',"choices":[' + choices + b"]" + tail

    def first(self) -> bytes:
        """The role chunk of a chat stream; nothing for completions."""
        if not self.chat:
            return b""
        return self._chunk(
            b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        )

    def text(self, text: str, logprobs: Sequence[TokenLogprob] | None) -> bytes:
        """A chunk of text."""
        quoted = msgspec.json.encode(text)
        probs = b"null" if logprobs is None else msgspec.json.encode(self.logprobs(logprobs))
        body = b'"delta":{"content":' + quoted + b"}" if self.chat else b'"text":' + quoted
        return self._chunk(b'{"index":0,' + body + b',"logprobs":' + probs + b',"finish_reason":null}')

    def last(self, finish: str) -> bytes:
        """The chunk with the finish reason."""
        body = b'"delta":{}' if self.chat else b'"text":""'
        reason = msgspec.json.encode(finish)
        return self._chunk(b'{"index":0,' + body + b',"logprobs":null,"finish_reason":' + reason + b"}")

    def usage_chunk(self, prompt: int, completion: int) -> bytes:
        """The chunk with the token counts."""
        numbers = msgspec.json.encode(usage(prompt, completion))
        return b"data: " + self._head + b',"choices":[],"usage":' + numbers + b"}\n\n"

    def whole(
        self, text: str, finish: str, prompt: int, completion: int, logprobs: Sequence[TokenLogprob] | None
    ) -> bytes:
        """The whole answer."""
        probs = None if logprobs is None else self.logprobs(logprobs)
        choice: dict[str, Any] = {"index": 0}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        choice["logprobs"] = probs
        choice["finish_reason"] = finish
        kind = "chat.completion" if self.chat else "text_completion"
        return msgspec.json.encode({**self._frame(kind), "choices": [choice], "usage": usage(prompt, completion)})

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """OpenAI's logprobs of either API."""
        if self.chat:
            return {
                "content": [
                    {**_named(t.token, t.logprob), "top_logprobs": [_named(piece, p) for piece, p in t.top]}
                    for t in tokens
                ]
            }
        return {
            "tokens": [_readable(t.token) for t in tokens],
            "token_logprobs": [t.logprob for t in tokens],
            "top_logprobs": [{_readable(piece): p for piece, p in t.top} for t in tokens],
            "text_offset": [],
        }


def _named(piece: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _readable(piece), "logprob": logprob, "bytes": list(piece)}


def _readable(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")
