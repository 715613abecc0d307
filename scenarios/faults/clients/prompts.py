"""What they ask: chat completions whose prompts begin differently, so that no cache of prefixes helps. Pure."""

from __future__ import annotations

import random

import msgspec

_TEXT = """
    harbour anchor signal market ledger copper winter garden letter engine quiet river border candle number silver
    window travel orange method common bridge forest minute season weather island paper
"""
_WORDS = _TEXT.split()


def body(draw: random.Random, number: int, model: str | None, words: int, most_tokens: int) -> bytes:
    """The JSON of one streamed chat completion with a prompt of so many words."""
    text = " ".join((f"{draw.getrandbits(32):08x}{number}", *draw.choices(_WORDS, k=max(0, words - 1))))
    named = {} if model is None else {"model": model}
    asked = {"messages": [{"role": "user", "content": text}], "max_tokens": most_tokens, "stream": True}
    return msgspec.json.encode({**named, **asked})
