"""Decimal numbers of many lines at once: eight digits are one 64-bit word, and arithmetic on words converts them.

The method is known as SWAR; here each step is one numpy operation over all numbers of a piece of a file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.lines import Ints, Words

Flags = npt.NDArray[np.bool_]

_u = np.uint64
_ZEROS = _u(0x3030303030303030)
_KEEP = np.array([0, *(~((1 << 8 * (8 - n)) - 1) & (2**64 - 1) for n in range(1, 9))], np.uint64)  # the last n bytes
POWERS = 10 ** np.arange(19, dtype=np.int64)


def last_digits(words: Words, end: Ints, length: Ints) -> Words:
    """The bytes `[end - length, end)` as values 0..9 in the high bytes of a word, zeros below; lengths 0 to 8."""
    word = words[end - 8]
    word ^= _ZEROS
    word &= _KEEP[length]
    return word


def are_digits(word: Words) -> Flags:
    """Whether every byte of what `last_digits` gave came from '0'..'9'."""
    return np.asarray(((word + _u(0x7676767676767676)) | word) & _u(0x8080808080808080) == 0)


def value_of(word: Words) -> Ints:
    """The numbers that `last_digits` read, 0 to 99,999,999; `word` is used up."""
    pairs = word >> _u(8)
    word *= _u(10)
    word += pairs
    word &= _u(0x00FF00FF00FF00FF)
    np.right_shift(word, _u(16), out=pairs)
    word *= _u(100)
    word += pairs
    word &= _u(0x0000FFFF0000FFFF)
    np.right_shift(word, _u(32), out=pairs)
    word *= _u(10_000)
    word += pairs
    word &= _u(0xFFFFFFFF)
    return word.view(np.int64)


def whole(words: Words, start: Ints, end: Ints) -> tuple[Ints, Flags]:
    """The numbers written in `[start, end)` with digits only, and which of them are: 1 to 16 digits.

    A number that is not is some value without meaning. `words` must have sixteen bytes before the first start.
    """
    length = end - start
    low = last_digits(words, end, np.clip(length, 0, 8))
    good = are_digits(low) & (length > 0) & (length <= 16)
    value = value_of(low)
    if (length > 8).any():
        high = last_digits(words, end - 8, np.clip(length - 8, 0, 8))
        good &= are_digits(high)
        value = value + value_of(high) * POWERS[8]
    return value, good
