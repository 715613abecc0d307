"""Columns that grow as a file is read, without a second copy of them at the end."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenarios.errors import Mistake, TraceError
from scenarios.traces.trace import Int32s, Int64s, Trace, TraceKind

NO_SESSION = 0
_AT_ONCE = 1 << 14  # rows


class Columns:
    """What a format's reader adds its pieces to; `trace` makes the whole of them."""

    def __init__(self) -> None:
        self._at = array("q")
        self._prompt, self._output, self._session = array("i"), array("i"), array("q")
        self._blocks, self._lengths = array("i"), array("i")
        self._dropped: dict[str, int] = {}

    def add(
        self,
        at_ns: Int64s,
        prompt_tokens: Int32s,
        output_tokens: Int32s,
        session: Int64s | None = None,
        blocks: Int32s | None = None,
        block_count: Int32s | None = None,
    ) -> None:
        """Rows of one piece; `at_ns` may count from anywhere. `session`: a number that rows of one session have alike.

        `block_count`: how many of `blocks` are of each row.
        """
        _grow(self._at, at_ns)
        _grow(self._prompt, prompt_tokens)
        _grow(self._output, output_tokens)
        if session is not None:
            _grow(self._session, session)
        if blocks is not None and block_count is not None:
            _grow(self._blocks, blocks)
            _grow(self._lengths, block_count)

    def drop(self, why: str, count: int) -> None:
        """Say that so many rows are left out."""
        if count:
            self._dropped[why] = self._dropped.get(why, 0) + count

    def trace(self, kind: TraceKind, path: Path, digest: str, block_tokens: int = 0) -> Trace:
        """All rows, in order of time. Raises TraceError where there is none."""
        at_ns = np.frombuffer(self._at, np.int64)
        if not len(at_ns):
            left_out = "".join(f"; {count:,} left out: {why}" for why, count in self._dropped.items())
            raise TraceError((Mistake(str(path), 0, f"holds no request{left_out}", "give a file with rows"),))
        offsets = np.empty(0, np.int64)
        if len(self._lengths):
            offsets = np.concatenate(([0], np.cumsum(np.frombuffer(self._lengths, np.int32), dtype=np.int64)))
        moved = int(np.count_nonzero(at_ns < np.maximum.accumulate(at_ns)))
        blocks = np.frombuffer(self._blocks, np.int32)
        prompt, output = np.frombuffer(self._prompt, np.int32), np.frombuffer(self._output, np.int32)
        session = np.full(len(at_ns), -1, np.int32)
        if len(self._session):
            session = _numbered(np.frombuffer(self._session, np.int64))
        if moved:
            order = np.argsort(at_ns, kind="stable")
            at_ns, prompt, output, session = at_ns[order], prompt[order], output[order], session[order]
            if len(offsets):
                blocks, offsets = _in_order(blocks, offsets, order)
        return Trace(
            kind=kind,
            name=path.name,
            digest=digest,
            at_ns=at_ns - at_ns[0],
            prompt_tokens=prompt,
            output_tokens=output,
            session=session,
            blocks=blocks,
            block_offsets=offsets,
            block_tokens=block_tokens,
            dropped=tuple(self._dropped.items()),
            moved=moved,
        )


def _grow(column: array[int], values: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> None:
    column.frombytes(values.astype(column.typecode, copy=False).tobytes())


def _numbered(keys: Int64s) -> Int32s:
    """Sessions by number, in the order of the file; -1 for NO_SESSION."""
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int32)
    number[np.argsort(first)] = np.arange(len(first))
    if (none := keys == NO_SESSION).any():
        number -= number > number[which[np.argmax(none)]]
    return np.where(none, np.int32(-1), number[which])


def _in_order(blocks: Int32s, offsets: Int64s, order: Int64s) -> tuple[Int32s, Int64s]:
    """The blocks of the rows in another order of rows."""
    count = np.diff(offsets)[order]
    moved = np.concatenate(([0], np.cumsum(count)))
    sorted_blocks = np.empty_like(blocks)
    for first in range(0, len(order), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        start, end = moved[first], moved[min(first + _AT_ONCE, len(order))]
        place = np.arange(start, end) + np.repeat(offsets[:-1][order[part]] - moved[:-1][part], count[part])
        sorted_blocks[start:end] = blocks[place]
    return sorted_blocks, moved
