"""The bootstrap over blocks of time: how far a percentile or a share of two runs may differ by chance. Pure.

Requests that are close in time share a queue, so they are drawn a block at a time (block bootstrap, Künsch 1989,
doi:10.1214/aos/1176347265, with blocks that do not overlap). In a paired comparison both runs get the same blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenarios.summary.columns import Floats, Ints, Mask

_CELLS = 4_000_000  # numbers in memory at once: 32 MB
_DRAWS, _FEWER = 4_000, 1_000
_MANY = 20_000  # requests from which on fewer draws are taken
MOST_BLOCKS, LEAST_BLOCKS = 100, 8

Draws = npt.NDArray[np.float32]
"""How often each block was drawn: draws x blocks."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """`of`: the block of each request, from 0 to count - 1."""

    of: Ints
    count: int


def blocks_of(due_s: Floats, start_s: float, end_s: float) -> Blocks:
    """Blocks of equal time, `MOST_BLOCKS` at most and about eight requests in each, `LEAST_BLOCKS` at least."""
    count = int(np.clip(len(due_s) // 8, LEAST_BLOCKS, MOST_BLOCKS))
    place = np.floor((due_s - start_s) / max(end_s - start_s, 1e-9) * count)
    return Blocks(np.clip(place, 0, count - 1).astype(np.int64), count)


def draws_of(count: int, requests: int, seed: int) -> Draws:
    """Block counts of each draw, the same ones for the same numbers."""
    draws = _DRAWS if requests <= _MANY else _FEWER
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws).astype(np.float32)


def percentiles(values_s: Floats, blocks: Blocks, draws: Draws, share: float) -> Floats:
    """The percentile `share` (nearest rank) of each draw; `values_s` without NaN. NaN where a draw has no value."""
    order = np.argsort(values_s, kind="stable")
    ranked, block = values_s[order], blocks.of[order]
    found = np.full(len(draws), np.nan)
    for part in _parts(len(draws), len(ranked)):
        weight = np.cumsum(draws[part][:, block], axis=1, dtype=np.float64)
        total = weight[:, -1]
        rank = np.array(
            [np.searchsorted(row, share * all_, side="left") for row, all_ in zip(weight, total, strict=True)]
        )
        found[part] = np.where(total > 0, ranked[np.minimum(rank, len(ranked) - 1)], np.nan)
    return found


def shares(hit: Mask, over: Mask, blocks: Blocks, draws: Draws) -> Floats:
    """hits / over of each draw; NaN where a draw has no request that counts."""
    hits = draws @ np.bincount(blocks.of[hit & over], minlength=blocks.count)
    counted = draws @ np.bincount(blocks.of[over], minlength=blocks.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(hits / counted)


def interval(differences: Floats, confidence: float) -> tuple[float, float] | None:
    """The percentile interval of the draws; None where one draw in ten has no value."""
    told = differences[~np.isnan(differences)]
    if len(told) < 0.9 * len(differences):
        return None
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(told, (tail, 1.0 - tail)).tolist()
    return low, high


def _parts(draws: int, values: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(values, 1))
    return (slice(begin, begin + step) for begin in range(0, draws, step))
