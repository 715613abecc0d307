"""The time of day as the harness sees it. It is shown and stored, and no measured number depends on it.

A fault (host.clock_step) makes it jump; everything that is measured counts on the monotonic clock.
"""

from __future__ import annotations

import time


class WallClock:
    """Unix time, and what a fault has added to it."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_s

    def step(self, by_s: float) -> None:
        """Jump, back where it is negative."""
        self._ahead_s += by_s


WALL_CLOCK = WallClock()
"""The one of this process: a machine has one, too."""
