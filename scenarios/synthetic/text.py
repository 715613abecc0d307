"""Made-up text of so many tokens, in which what is said to be shared is the same text, and nothing else is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from scenarios.synthetic.words import WORDS

_COUNT = 1 << 16  # words of the long text
_SEED = 20_261_122
_KEY_WORDS, _BLOCK_WORDS = 8, 4  # a word is a byte
_MASK = (1 << 8 * _BLOCK_WORDS) - 1
_SPREAD = 0x9E3779B1  # odd, so that multiplying by it modulo 2^32 maps no two numbers to one


class _Long(NamedTuple):
    """A long text, and where each of its words begins; one more place for the end."""

    text: str
    at: list[int]


def prompt_of(
    tokens: int,
    key: str,
    blocks: Iterable[int] = (),
    block_tokens: int = 0,
    tokens_per_word: float = 1.0,
    salt: int = 0,
) -> str:
    """A text of about `tokens` tokens: the texts of its `blocks` in order, then text of its own.

    A block is `block_tokens` long, the last cut off where the prompt ends. Equal ids (0 to 2^32 - 1) are equal text and
    different ids differ within the first four words, most of them in the first; `salt` (of the same range) exchanges
    the texts of all ids, so that a server does not remember them from an earlier run. The text of its own is as unlike
    any other as `key` is. `tokens_per_word`: what the target's tokenizer makes of a word (see WORDS).
    """
    words = max(round(tokens / tokens_per_word), 1)
    block_words = max(round(block_tokens / tokens_per_word), 1)
    parts: list[str] = []
    for block in blocks:
        if words <= 0:
            break
        name = ((int(block) ^ salt) * _SPREAD & _MASK).to_bytes(_BLOCK_WORDS, "big")
        parts.append(_text(name, min(block_words, words)))
        words -= block_words
    if words > 0:
        parts.append(_text(hashlib.blake2b(key.encode(), digest_size=_KEY_WORDS).digest(), words))
    return " ".join(parts)


def _text(name: bytes, words: int) -> str:
    """`words` words: those that spell `name`, then a stretch of the long text that begins where the name says."""
    long = _long()
    parts = [" ".join([WORDS[byte] for byte in name[:words]])]
    left = words - len(name)
    start = int.from_bytes(name[:4], "big") * 40_503 >> 8 & _COUNT - 1
    while left > 0:
        end = min(start + left, _COUNT)
        parts.append(long.text[long.at[start] : long.at[end] - 1])
        left -= end - start
        start = 0
    return " ".join(parts)


@cache
def _long() -> _Long:
    """Words in an order of chance: from the raw words of PCG64, which numpy guarantees to stay as they are."""
    raw = np.random.PCG64(_SEED).random_raw(_COUNT // 8)
    words = [WORDS[byte] for byte in raw.astype("<u8").tobytes()]
    lengths = np.fromiter(map(len, words), np.int64, _COUNT) + 1
    return _Long(" ".join(words), [0, *np.cumsum(lengths).tolist()])
