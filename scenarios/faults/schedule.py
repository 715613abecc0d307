"""When each fault of a run comes: moments drawn from the seed, no more at once than the blast radius allows. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from scenarios import draws
from scenarios.definition import Blast, FaultSpec
from scenarios.faults.blast import busy_s, is_random

_DRAWS = 1 << 20  # the stream of random bits of this decision; those of plans have lower numbers

Span = tuple[float, float]


def scheduled(faults: Sequence[FaultSpec], seed: int, blast: Blast) -> tuple[FaultSpec, ...]:
    """Every fault of the run with a moment of its own, in order of start (of equal ones: as they were written).

    What is drawn from the seed begins at any moment of its time at which no more than `blast.at_once` are on with it,
    all such moments being equally likely. The same faults, seed and blast radius give the same moments.
    """
    placed = [(fault, number) for number, fault in enumerate(faults) if not is_random(fault)]
    for number, fault in enumerate(faults):
        if not is_random(fault):
            continue
        bits = draws.stream(seed, _DRAWS + number)
        for share in draws.uniforms(bits, fault.times):
            on = [(one.at_s, one.at_s + busy_s(one)) for one, _ in placed]
            at_s = _pick(float(share), _free(fault, on, blast.at_once))
            placed.append((dataclasses.replace(fault, at_s=at_s, times=1, by_s=0.0), number))
    return tuple(fault for fault, _ in sorted(placed, key=lambda one: (one[0].at_s, one[1])))


def _free(fault: FaultSpec, on: Sequence[Span], at_once: int) -> list[Span]:
    """The pieces of its time in which the fault may begin; never none, which `blast.excess` has seen to."""
    length_s = busy_s(fault)
    free: list[Span] = [(fault.at_s, fault.by_s)]
    for start_s, end_s in _full(on, at_once):
        free = [
            piece
            for low, high in free
            for piece in ((low, min(high, start_s - length_s)), (max(low, end_s), high))
            if piece[0] < piece[1]
        ]
    if not free:
        raise ValueError(f"no moment is left for {fault.kind} between {fault.at_s:g} s and {fault.by_s:g} s")
    return free


def _full(on: Sequence[Span], at_once: int) -> list[Span]:
    """Where so many are on already that one more would be too many."""
    edges = np.unique(np.asarray(on, dtype=np.float64).reshape(-1))
    spans = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [(low, high) for low, high in spans if sum(a <= low and high <= b for a, b in on) >= at_once]


def _pick(share: float, pieces: Sequence[Span]) -> float:
    """The moment before which that share of all pieces lies."""
    left_s = share * sum(high - low for low, high in pieces)
    for low, high in pieces[:-1]:
        if left_s < high - low:
            return low + left_s
        left_s -= high - low
    low, high = pieces[-1]
    return min(low + left_s, high)
