"""The time of a run: it moves while a plan is sent; before, between two plans and in a resume's gap it stands still."""

from __future__ import annotations

import time

NS = 1_000_000_000
LEAD_S = 0.3  # between the last preparation and the first due time


class RunClock:
    """Starts at -LEAD_S, so that a plan whose first request is due at 0 is met LEAD_S after `start`."""

    def __init__(self, first_due_s: float = 0.0, shown_s: float | None = None) -> None:
        """first_due_s: what the clock shows LEAD_S after it is started; shown_s: before, LEAD_S less if None."""
        self._at_ns = round((first_due_s - LEAD_S) * NS)
        self._shown_ns = self._at_ns if shown_s is None else round(shown_s * NS)
        self._zero_ns: int | None = None

    @property
    def moves(self) -> bool:
        """Whether a plan is being sent."""
        return self._zero_ns is not None

    @property
    def now_s(self) -> float:
        """Seconds of the run."""
        return (self._shown_ns if self._zero_ns is None else time.monotonic_ns() - self._zero_ns) / NS

    @property
    def next_due_ns(self) -> int:
        """While it stands still: the earliest time that a request of the next plan can be due."""
        return self._at_ns + round(LEAD_S * NS)

    def start(self) -> int:
        """Let it move; returns the time of the monotonic clock, ns, from which due times count."""
        self._zero_ns = time.monotonic_ns() - self._at_ns
        return self._zero_ns

    def hold(self) -> None:
        """Let it stand still until the next start."""
        if self._zero_ns is not None:
            self._at_ns, self._zero_ns = time.monotonic_ns() - self._zero_ns, None
            self._shown_ns = self._at_ns
