"""Which padding rows join a decode step.

llama.cpp splits a batch over separate KV streams into sub-batches of neighbouring sequence ids, so a hole between
running slots costs a sub-batch. And kernels may round otherwise for another number of rows: where the same text to the
bit is wanted whoever runs beside it, every step computes one row of every slot.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from engine.decode.schedule import DecodeRow

MERGE_HOLE = 4
"""A hole of at most this many idle slots is padded; a wider one costs a sub-batch of its own."""
PADDING = -1
"""The `id` of a padding row."""


def with_padding(rows: Sequence[DecodeRow], lengths: Sequence[int], ctx: int, *, every: bool) -> list[DecodeRow]:
    """`rows` in order of slot, with padding rows in narrow holes; with `every`, in each slot without a row.

    A padding row is a token at the end of its slot's stream, removed after the call.
    """
    if not every and rows[-1].slot - rows[0].slot == len(rows) - 1:
        return list(rows)
    filled = []
    taken = {row.slot: row for row in rows}
    for slot in range(len(lengths)) if every else _merged(list(taken)):
        if row := taken.get(slot):
            filled.append(row)
        elif lengths[slot] < ctx:
            filled.append(DecodeRow(PADDING, slot, lengths[slot], 0))
    return filled


def _merged(slots: list[int]) -> list[int]:
    """The slots, and those in narrow holes between them."""
    wanted = slots[:1]
    for left, right in itertools.pairwise(slots):
        wanted += range(left + 1 if right - left - 1 <= MERGE_HOLE else right, right + 1)
    return wanted
