"""Where the warm-up of a series ends. Pure: from values in order to a number of them.

The second half of the series is the reference. Each value is scored by its place among the reference values (normal
score of the mid-rank), so that neither the unit nor a few extreme values play a part, and a value of infinity (never
answered) is simply the worst. With g the inefficiency of the reference scores (stats.alike), a window of w values has a
mean with standard error sqrt(g / w) of the scores' deviation. The cut is where the running sum of (score - SLACK
standard errors of a window's mean) is largest: the change point of Page's CUSUM ("Continuous inspection schemes",
Biometrika 41, 1954; as an estimate: Hinkley, Biometrika 57, 1970), looked for upwards (cold: slower) and downwards (a
queue that fills: faster). It counts only when the sum is higher than chance makes it: without a warm-up the maximum of
such a sum with drift -d has P(max > x) = exp(-2 d x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scenarios.stats.alike import MOST, inefficiency, normal_scores
from scenarios.stats.order import Floats

WINDOWS = 10  # a run is so many windows long
SLACK = 2.5
CHANCE = 0.002  # of a cut where there is none, each way
FEWEST = 60  # values that the series must be worth
APART = 4.0  # standard errors between the last two quarters, beyond which nothing was steady


@dataclass(frozen=True, slots=True)
class Warmup:
    """`cut` values from the beginning are warm-up. `why_unsteady`: nothing is cut then; empty when it is steady.

    window: how many values long a window is, the precision of the cut. worth: of how many independent values the whole
    series is worth.
    """

    cut: int
    window: int
    worth: int
    why_unsteady: str = ""

    @property
    def enough(self) -> bool:
        """Whether there were enough values to look at all."""
        return self.worth >= FEWEST


def find(values: Floats) -> Warmup:
    """The warm-up of `values`, in order; no NaN among them, infinity is the worst. Of very many every k-th is used."""
    n = len(values)
    window, half = max(1, n // WINDOWS), n // 2
    if (step := -(-n // MOST)) > 1:
        found = find(values[::step])
        return replace(found, cut=found.cut * step, window=window)
    if n < FEWEST:
        return Warmup(0, window, n)
    scores = normal_scores(values, np.sort(values[half:]))
    reference = scores[half:]
    spread = float(reference.std())
    if spread == 0.0:  # the reference knows one value only: all that differs from it is warm-up
        off = np.flatnonzero(scores[:half] != reference[0])
        return _checked(int(off[-1]) + 1 if len(off) else 0, half, window, n)
    if _apart(reference):
        return Warmup(0, window, n, "the last two quarters of the run differ")
    g = inefficiency(reference)
    worth = int(n / g)
    if worth < FEWEST:
        return Warmup(0, window, worth)
    standard = (scores - reference.mean()) / (spread * math.sqrt(g))
    slack = SLACK / math.sqrt(window)
    cut, highest = 0, -math.log(CHANCE) / (2 * slack)
    for sign in (1.0, -1.0):
        sums = np.cumsum(sign * standard[:half] - slack)
        top = int(np.argmax(sums))
        if sums[top] > highest:
            cut, highest = top + 1, float(sums[top])
    return _checked(cut, half, window, worth)


def _apart(reference: Floats) -> bool:
    """Whether its halves differ by more than chance makes them, measured by what they are around lines of their own."""
    parts = np.array_split(reference, 2)
    left = np.concatenate([_around_line(part) for part in parts])
    error = math.sqrt(left.var() * inefficiency(left) * sum(1 / len(part) for part in parts))
    return bool(abs(parts[0].mean() - parts[1].mean()) > APART * error)


def _around_line(part: Floats) -> Floats:
    at = np.arange(len(part)) - (len(part) - 1) / 2
    line: Floats = part - part.mean() - at * float((at * part).sum() / max(1.0, float((at * at).sum())))
    return line


def _checked(cut: int, half: int, window: int, worth: int) -> Warmup:
    """A cut at the end of where it was looked for is none: who knows how far it goes."""
    if cut > half - window // 2:
        return Warmup(0, window, worth, "the first half of the run never came to the level of the second")
    return Warmup(cut, window, worth)
