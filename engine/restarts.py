"""How often a dead process may be started again, and after which pause. Pure: the caller brings the clock."""

from __future__ import annotations

from collections import deque

FIRST_PAUSE_S = 0.0
LONGEST_PAUSE_S = 0.5


class RestartBudget:
    """Gives up at the `limit`th death within `window_s`, with a limit of 0 never.

    Each death before it doubles the pause before a restart. The longest is short: whatever it was that killed the
    process again and again, once it is over the service is back within its load time and little more.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self._deaths: deque[float] = deque()

    def after_death(self, now_s: float) -> float | None:
        """Record a death; return the pause before the restart in seconds, or None to give up."""
        while self._deaths and now_s - self._deaths[0] > self.window_s:
            self._deaths.popleft()
        self._deaths.append(now_s)
        count = len(self._deaths)
        if self.limit and count >= self.limit:
            return None
        return FIRST_PAUSE_S if count == 1 else min(LONGEST_PAUSE_S, 0.1 * 2.0 ** min(count - 2, 16))
