"""Quantiles of the last seconds: a ring of sketches, one for each second. It has no clock; the caller says when."""

from __future__ import annotations

import math

import numpy.typing as npt

from scenarios.stats.sketch import LogSketch, merged
from scenarios.tick import Quantiles


class SketchRing:
    """Values of the last `seconds` whole seconds and of the one that runs; older ones are forgotten.

    A value that comes late, for a second that the ring has already left, is dropped.
    """

    __slots__ = ("_sketches", "_stamps", "seconds")

    def __init__(self, seconds: int = 10) -> None:
        self.seconds = seconds
        self._sketches = [LogSketch() for _ in range(seconds)]
        self._stamps: list[int | None] = [None] * seconds

    def __repr__(self) -> str:
        return f"SketchRing(seconds={self.seconds}, stamps={[stamp for stamp in self._stamps if stamp is not None]})"

    def add(self, t_s: float, value_s: float) -> None:
        """Count one value that was measured at `t_s`."""
        sketch = self._at(t_s)
        if sketch is not None:
            sketch.add(value_s)

    def add_many(self, t_s: float, values_s: npt.ArrayLike) -> None:
        """Count values that were measured at `t_s`."""
        sketch = self._at(t_s)
        if sketch is not None:
            sketch.add_many(values_s)

    def sketch(self, now_s: float) -> LogSketch:
        """One sketch of what was measured in the window that ends with the second of `now_s`."""
        newest = math.floor(now_s)
        return merged(
            sketch
            for stamp, sketch in zip(self._stamps, self._sketches, strict=True)
            if stamp is not None and newest - self.seconds < stamp <= newest
        )

    def quantiles(self, now_s: float) -> Quantiles:
        """p50, p95 and p99 of the window for a tick."""
        return self.sketch(now_s).quantiles()

    def _at(self, t_s: float) -> LogSketch | None:
        second = math.floor(t_s)
        place = second % self.seconds
        stamp = self._stamps[place]
        if stamp is not None and stamp > second:
            return None
        if stamp != second:
            self._stamps[place] = second
            self._sketches[place] = LogSketch()
        return self._sketches[place]
