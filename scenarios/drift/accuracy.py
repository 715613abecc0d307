"""Do answers get worse? An exact test of recent errors against the reference, and a CUSUM that sums small evidence."""

from __future__ import annotations

import math
from collections import deque

from scenarios.stats import binomial

SLACK = 0.5  # k: shifts smaller than one standard deviation are let go
LIMIT = 8.0  # h: measured 0.9 false alarms in 10,000 samples at a median delay of 15 for one standard deviation
RUN_LEVEL = 0.005  # of Fisher's test, for a whole run: shared among as many windows as fit into it


class AccuracyMonitor:
    """The first `reference` judged answers set the rate, the last `window` are compared with it.

    CUSUM (Page, Biometrika 41, 1954): s = max(0, s + z - k), z the error standardised by the reference rate. As errors
    are rare and z is then large, the rate is the upper 90 % limit of the reference rather than its estimate, and the
    alarm needs Fisher's exact test (one-sided, p < 0.005 for the run) as well.
    """

    __slots__ = ("_cusum", "_errors", "_level", "_reference", "_size", "_spread", "_window", "rate")

    def __init__(self, reference: int, window: int, planned: int) -> None:
        self._size = reference
        self._reference: list[bool] = []
        self._window: deque[bool] = deque(maxlen=window)
        self._level = min(0.001, RUN_LEVEL * window / max(planned, 1))
        self._cusum = 0.0
        self._errors = 0
        self.rate = self._spread = 0.0

    def __repr__(self) -> str:
        return f"AccuracyMonitor(reference={self.reference}, recent={self.recent}, cusum={self._cusum:.2f})"

    def add(self, correct: bool, *, may_be_reference: bool = True) -> None:
        """Count one judged answer."""
        if may_be_reference and len(self._reference) < self._size:
            self._reference.append(correct)
            self._errors += not correct
            self.rate = max(0.01, binomial.upper(self._errors, len(self._reference), 0.9))
            self._spread = math.sqrt(max(1e-3, self.rate * (1 - self.rate)))
            return
        self._window.append(correct)
        if len(self._reference) >= self._size:
            self._cusum = max(0.0, self._cusum + ((not correct) - self.rate) / self._spread - SLACK)

    @property
    def reference(self) -> float | None:
        """Accuracy of the reference so far."""
        return 1 - self._errors / len(self._reference) if self._reference else None

    @property
    def recent(self) -> float | None:
        """Accuracy of the window; None while nothing came after the reference."""
        return sum(self._window) / len(self._window) if self._window else None

    @property
    def alarm(self) -> bool:
        """Whether both tests say that answers are worse now."""
        if self._cusum <= LIMIT:
            return False
        errors = len(self._window) - sum(self._window)
        return binomial.fisher_worse(self._errors, len(self._reference), errors, len(self._window)) < self._level
