"""How far the wall clock has jumped: what it moved by beside a clock that cannot be set."""

from __future__ import annotations

import time
from collections.abc import Callable

from scenarios.wall_clock import WALL_CLOCK

_SURE_S = 0.001
_TRIES = 3


class ClockSteps:
    """The largest jump between two looks at the clock, seconds, whichever way.

    The steady clock goes on while the machine sleeps, where there is one that does; NTP's slewing stays far below what
    is called a step.
    """

    STEP_S = 0.01  # less between two looks is no step

    def __init__(
        self, wall_s: Callable[[], float] = WALL_CLOCK.now_s, steady_s: Callable[[], float] | None = None
    ) -> None:
        self.largest_s = 0.0
        self._wall_s = wall_s
        self._steady_s = steady_s or _steady_s
        self._apart_s = self._apart()

    def look(self) -> None:
        """Take the clocks' distance now; call it several times a second."""
        before_s, self._apart_s = self._apart_s, self._apart()
        step_s = abs(self._apart_s - before_s)
        if step_s >= self.STEP_S:
            self.largest_s = max(self.largest_s, step_s)

    def _apart(self) -> float:
        """Wall minus steady clock; both were read within a millisecond, unless this process stood still three times."""
        found: list[tuple[float, float]] = []
        for _ in range(_TRIES):
            early_s, wall_s, late_s = self._steady_s(), self._wall_s(), self._steady_s()
            found.append((late_s - early_s, wall_s - (early_s + late_s) / 2))
            if late_s - early_s < _SURE_S:
                break
        return min(found)[1]


def _steady_s() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
