"""What a source of tasks is told: its own chance, and which task is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios import draws


@dataclass(frozen=True, slots=True)
class Seed:
    """The run's seed, and the first of the streams of random bits that are the source's own."""

    number: int
    first: int

    def stream(self, nth: int) -> np.random.PCG64:
        """A fresh generator of its stream number `nth`."""
        return draws.stream(self.number, self.first + nth)


@dataclass(frozen=True, slots=True)
class Ask:
    """Which task is wanted: of start number `start`, the `nth` of its entry, its turn number `turn`; all from 0."""

    start: int
    nth: int
    turn: int
