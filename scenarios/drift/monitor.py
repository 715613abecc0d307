"""Drift of a run as it goes: a reference from its beginning, a window of its last requests, alarms, and final facts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scenarios.drift import numbers, words
from scenarios.drift.accuracy import AccuracyMonitor
from scenarios.drift.features import word_counts
from scenarios.metrics import ODD_PROFILE
from scenarios.request import PlannedRequest
from scenarios.tick import DriftSample

REFERENCE_SHARE = 0.3
REFERENCE_FEWEST, REFERENCE_MOST = 20, 100
WINDOW = 60
WINDOW_FEWEST = 30
EVALUATIONS = 30  # planned for a run; see ALARM_P
STEP_FEWEST = 5
ALARM_P = 0.001
IN_A_ROW = 2


@dataclass(frozen=True, slots=True)
class _Input:
    text: str
    profile: str
    numbers: tuple[tuple[str, float], ...]
    era: str


class DriftMonitor:
    """Add every finished request in the order it ended; ask for a sample whenever one is shown. It has no clock.

    Input: the first 30 % of the run (20 to 100 era-A requests) are the reference, the last 60 requests after it the
    window, compared about 30 times a run. The alarm goes off when the p-value of words, or of numbers, is at most 0.001
    in two comparisons in a row; output: see AccuracyMonitor. An alarm stays on. Odd probes are left out.

    Measured without drift, five profiles alone and mixed: words or numbers raised a false alarm in 1 of 360 runs of 180
    requests, 5 of 360 of 360 requests, 1 of 240 of 1,000; accuracy in at most 0.8 % of runs of 360 requests.
    """

    def __init__(self, planned: int, start_s: float | None = None, seed: int = 0) -> None:
        """planned: requests of the run, odd probes aside. start_s: when the turn starts; None when none is planned."""
        self._size = min(REFERENCE_MOST, max(REFERENCE_FEWEST, round(REFERENCE_SHARE * planned)))
        self._step = max(STEP_FEWEST, -(-(planned - self._size) // EVALUATIONS))
        self._start_s = start_s
        self._seed = seed
        self._reference: list[_Input] = []
        self._recent: deque[_Input] = deque(maxlen=WINDOW)
        self._accuracy = AccuracyMonitor(self._size, WINDOW, planned)
        self._judged = {"A": [0, 0], "B": [0, 0]}  # era -> correct, n
        self._new = self._evaluations = self._streak = 0
        self._comparison: words.Comparison | None = None
        self._last_t_s = 0.0
        self._alarms: dict[str, float] = {}  # what -> when

    def __repr__(self) -> str:
        filled = f"{len(self._reference)}/{self._size}"
        return f"DriftMonitor(reference={filled}, recent={len(self._recent)}, alarms={self._alarms})"

    def add(self, t_s: float, request: PlannedRequest, correct: bool | None = None) -> None:
        """Take in one finished request; `correct` as judged, None where nothing could be compared."""
        if request.profile == ODD_PROFILE:
            return
        self._last_t_s = max(self._last_t_s, t_s)
        one = _Input(request.prompt_text, request.profile, request.numbers, request.era)
        if request.era == "A" and len(self._reference) < self._size:
            self._reference.append(one)
        else:
            self._recent.append(one)
            self._new += 1
        if correct is not None:
            tally = self._judged["B" if request.era == "B" else "A"]
            tally[0] += correct
            tally[1] += 1
            self._accuracy.add(correct, may_be_reference=request.era == "A")
            if self._accuracy.alarm:
                self._alarms.setdefault("accuracy", t_s)
        ready = len(self._reference) == self._size and len(self._recent) >= WINDOW_FEWEST
        if ready and self._new >= self._step:
            self._new = 0
            self._evaluate(t_s)

    def sample(self) -> DriftSample:
        """Drift as it stands, for a tick. Costs nothing: the comparisons are made as requests are added."""
        recent = [one.era == "B" for one in self._recent]
        return DriftSample(
            score=self._comparison.distance if self._comparison else None,
            p_value=self._comparison.p_value if self._comparison else None,
            alarm=bool(self._alarms),
            accuracy_reference=self._accuracy.reference,
            accuracy_recent=self._accuracy.recent,
            era_b_share=sum(recent) / len(recent) if recent else 0.0,
        )

    def facts(self) -> dict[str, float | int | bool | str | None]:
        """The end of it: detected, by what, when, how long after the turn started (negative: before), what it cost.

        accuracy_a and accuracy_b are by the true era, drop is their difference; None where an era has no judged answer.
        watched_s: how long the run went on after the turn started.
        """
        by = min(self._alarms, key=lambda name: self._alarms[name], default=None)
        alarm_t_s = self._alarms[by] if by is not None else None
        accuracy = {era: tally[0] / tally[1] if tally[1] else None for era, tally in self._judged.items()}
        a, b, start_s = accuracy["A"], accuracy["B"], self._start_s
        return {
            "detected": alarm_t_s is not None,
            "detected_by": by,
            "alarm_t_s": alarm_t_s,
            "start_s": start_s,
            "delay_s": alarm_t_s - start_s if alarm_t_s is not None and start_s is not None else None,
            "watched_s": max(0.0, self._last_t_s - start_s) if start_s is not None else None,
            "accuracy_a": a,
            "accuracy_b": b,
            "accuracy_drop": a - b if a is not None and b is not None else None,
            "score": self._comparison.distance if self._comparison else None,
            "p_value": self._comparison.p_value if self._comparison else None,
            "evaluations": self._evaluations,
        }

    def _evaluate(self, t_s: float) -> None:
        every = [*self._reference, *self._recent]
        self._comparison = words.compare(
            np.array([word_counts(one.text) for one in self._reference]),
            np.array([word_counts(one.text) for one in self._recent]),
            [one.profile for one in every],
            self._seed + self._evaluations,
        )
        self._evaluations += 1
        by_number = numbers.compare(_features(self._reference), _features(self._recent))
        least = min(by_number.values(), default=1.0)
        self._streak = self._streak + 1 if min(self._comparison.p_value, least) <= ALARM_P else 0
        if self._streak >= IN_A_ROW:
            self._alarms.setdefault("words" if self._comparison.p_value <= least else "numbers", t_s)


def _features(inputs: Iterable[_Input]) -> dict[str, list[float]]:
    """Values by profile and name: an amount here is no amount there."""
    values: dict[str, list[float]] = {}
    for one in inputs:
        for name, value in one.numbers:
            values.setdefault(f"{one.profile}/{name}", []).append(value)
    return values
