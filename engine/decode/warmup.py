"""The first calls after loading: they page the weights in and measure how fast this machine is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from engine.decode.llama import Llama
from engine.decode.schedule import DecodeRow

_LEAST_WORTH = 8
"""Tokens; below, a copy is never worth its book-keeping."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that things take. `worth`: prompt tokens that take as long to compute as a stream takes to copy."""

    slowest_step_s: float
    token_s: float
    worth: int


def warm_up(llama: Llama) -> Speed:
    """Run the largest prompt chunk, the largest decode step and a copy of a stream once; leaves nothing behind."""
    size = min(llama.chunk, llama.ctx - 2)
    llama.prefill(0, 0, [0] * min(2, size), wants_logits=True)
    llama.start(0, 0, 0)
    start = time.perf_counter()
    llama.prefill(0, 0, [0] * size, wants_logits=True)
    prefilled = time.perf_counter()
    llama.decode_rows([DecodeRow(slot, slot, llama.lengths[slot], 0) for slot in range(llama.slots)])
    decoded = time.perf_counter()
    copy_s = 0.0
    if llama.slots > 1 and llama.shares:
        plain_s = _one_row(llama)
        llama.start(1, 0, size)
        copy_s = max(0.0, _one_row(llama) - plain_s)
    llama.clear()
    token_s = (prefilled - start) / size
    image_s = token_s * llama.projector.longest_whole if llama.projector else 0.0
    return Speed(
        slowest_step_s=max(prefilled - start, decoded - prefilled, image_s),
        token_s=token_s,
        worth=max(_LEAST_WORTH, math.ceil(copy_s / token_s)),
    )


def _one_row(llama: Llama) -> float:
    """Seconds of a decode step of slot 1; llama.cpp carries out a copy asked for before it in here."""
    start = time.perf_counter()
    llama.decode_rows([DecodeRow(1, 1, llama.lengths[1], 0)])
    return time.perf_counter() - start
