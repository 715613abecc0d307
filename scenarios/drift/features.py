"""A text as counts of hashed words: no vocabulary to learn, no text kept, the same on every machine."""

from __future__ import annotations

import re
import zlib

import numpy as np
import numpy.typing as npt

BUCKETS = 128
MOST_CHARACTERS = 20_000  # of one text: a flood of input must not stall its own measurement
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"\w+|[^\w\s]")


def word_counts(text: str) -> npt.NDArray[np.float32]:
    """How many words fall into each of 128 buckets: crc32 of the casefolded word with every digit masked as 0.

    Numbers differ from request to request without any drift, their form does not: A1234 and A9876 are one word. Marks
    count as words. Source: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """
    masked = _DIGIT.sub("0", text[:MOST_CHARACTERS].casefold())
    places = [zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS for word in _WORD.findall(masked)]
    return np.bincount(np.array(places, dtype=np.int64), minlength=BUCKETS).astype(np.float32)
