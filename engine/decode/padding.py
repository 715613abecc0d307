"""Which padding rows join a decode step.

Two facts ask for them. llama.cpp splits a batch over separate KV streams into sub-batches of neighbouring sequence ids,
so a hole between running slots costs a sub-batch. And on a CPU a matrix product with one column runs another kernel,
with other rounding, than one with two or more; beside a padding row no row is ever alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

MERGE_HOLE = 4
"""A hole of at most this many idle slots is padded; a wider one costs a sub-batch of its own."""
PADDING = -1


@dataclass(frozen=True, slots=True)
class Row:
    """One token of one running sequence: its slot, its position in the sequence, its id (PADDING for none)."""

    slot: int
    position: int
    token: int


def with_padding(rows: Sequence[Row], lengths: Sequence[int], ctx: int) -> list[Row]:
    """`rows` in order of slot, with padding rows in narrow holes, and beside a row that would stand alone.

    A padding row is a token at the end of its slot's stream, removed after the call.
    """
    taken = {row.slot: row for row in rows}
    wanted = set(taken)
    slots = sorted(taken)
    for left, right in itertools.pairwise(slots):
        if right - left - 1 <= MERGE_HOLE:
            wanted.update(range(left, right))
    for slot in sorted(wanted):
        if slot - 1 not in wanted and slot + 1 not in wanted:
            neighbour = slot + 1 if slot + 1 < len(lengths) else slot - 1
            if neighbour >= 0:
                wanted.add(neighbour)
    filled = []
    for slot in sorted(wanted):
        if slot in taken:
            filled.append(taken[slot])
        elif lengths[slot] < ctx:
            filled.append(Row(slot, lengths[slot], PADDING))
    return filled
