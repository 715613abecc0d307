"""Mooncake traces: a JSON object a line with timestamp (ms), input_length, output_length and hash_ids.

kvcache-ai/Mooncake, Apache-2.0; Qin et al., Mooncake (FAST'25). A hash id names 512 tokens of the prompt.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from scenarios.errors import Mistake
from scenarios.lines import Ints, Lines
from scenarios.traces.broken import refuse
from scenarios.traces.columns import Columns
from scenarios.traces.digits import Flags, last_digits, value_of
from scenarios.traces.trace import Int32s

BLOCK_TOKENS = 512
_MILLI = 1_000_000  # ns in a millisecond
_KEYS = (b'{"timestamp": ', b', "input_length": ', b', "output_length": ', b', "hash_ids": [')
_BETWEEN, _LAST = b", ", b"]}"
_FIRST = [np.uint64((1 << 8 * n) - 1) for n in range(8)]  # the first n bytes of a word
_FIX = 'write {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, ...]}'

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Millis = Annotated[float, msgspec.Meta(ge=-9e12, le=9e12)]


class _Row(msgspec.Struct, gc=False):
    timestamp: _Millis
    input_length: _Count
    output_length: _Count
    hash_ids: list[_Count] = []


class _Piece(NamedTuple):
    """The rows of a piece: times in ns, counts, block ids of all rows in order, how many of them each row has."""

    at_ns: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    blocks: Ints | Int32s
    block_count: Ints


_decoder = msgspec.json.Decoder(_Row)


def add_rows(file: str, lines: Lines, columns: Columns) -> None:
    """A piece of the file. Raises TraceError for a broken row, or one whose ids do not cover its prompt."""
    piece = _as_published(lines) or _as_json(file, lines)
    covered = piece.block_count == -(-piece.prompt_tokens // BLOCK_TOKENS)
    mistakes = []
    for row in np.flatnonzero(~covered):
        what = f"{piece.block_count[row]} hash_ids for {piece.prompt_tokens[row]} tokens"
        fix = f"each id stands for {BLOCK_TOKENS} tokens, the last for what is left"
        mistakes.append(Mistake(file, int(lines.number[row]), what, fix))
    refuse(file, mistakes)
    columns.add(
        piece.at_ns,
        piece.prompt_tokens.astype(np.int32),
        piece.output_tokens.astype(np.int32),
        blocks=piece.blocks.astype(np.int32),
        block_count=piece.block_count.astype(np.int32),
    )


def _as_published(lines: Lines) -> _Piece | None:
    """The rows, if all of them are written byte for byte like the published files; far faster than JSON in general."""
    digit = lines.text - np.uint8(ord("0")) < 10
    edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1
    start, end = edges[0::2], edges[1::2]  # the padding in front and the newline at the end are no digits
    length = end - start
    first = np.searchsorted(start, lines.start)
    count = np.diff(np.append(first, len(start))) - len(_KEYS) + 1
    if not len(length) or length.max() > 8 or count.min() < 1:
        return None
    joined = np.zeros(len(start), np.bool_)
    joined[1:] = _written(lines, end[:-1], start[1:], _BETWEEN)
    before = lines.start
    for place, key in enumerate(_KEYS):
        joined[first + place] = _written(lines, before, start[first + place], key)
        before = end[first + place]
    last = first + count + len(_KEYS) - 2
    if not joined.all() or not _written(lines, end[last], lines.end, _LAST).all():
        return None
    value = value_of(last_digits(lines.words, end, length))
    listed = np.ones(len(value), np.bool_)
    for place in range(len(_KEYS) - 1):
        listed[first + place] = False
    return _Piece(value[first] * _MILLI, value[first + 1], value[first + 2], value[listed], count)


def _written(lines: Lines, start: Ints, end: Ints, text: bytes) -> Flags:
    """Whether exactly `text`, at most 32 bytes, stands in each `[start, end)`."""
    same = np.asarray(end - start == len(text))
    for place in range(0, len(text), 8):
        part = text[place : place + 8]
        word = lines.words[start + place] if len(part) == 8 else lines.words[start + place] & _FIRST[len(part)]
        same &= word == np.uint64(int.from_bytes(part, "little"))
    return same


def _as_json(file: str, lines: Lines) -> _Piece:
    rows: list[_Row] = []
    mistakes: list[Mistake] = []
    for row in range(len(lines)):
        try:
            rows.append(_decoder.decode(lines.raw(row)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # the last: nested without end
            mistakes.append(Mistake(file, int(lines.number[row]), str(error), _FIX))
    refuse(file, mistakes)
    millis = np.fromiter((row.timestamp for row in rows), np.float64, len(rows))
    block_count = np.fromiter((len(row.hash_ids) for row in rows), np.int64, len(rows))
    blocks = np.fromiter(chain.from_iterable([row.hash_ids for row in rows]), np.int32, int(block_count.sum()))
    return _Piece(
        np.rint(millis * _MILLI).astype(np.int64),
        np.fromiter((row.input_length for row in rows), np.int64, len(rows)),
        np.fromiter((row.output_length for row in rows), np.int64, len(rows)),
        blocks,
        block_count,
    )
