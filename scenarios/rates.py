"""The rate of arrivals over a run, as straight pieces: its value, its integral and the inverse of that. Pure.

Everything that has a rate is such pieces, so plans, previews and limits read one shape. Only + - * / and sqrt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scenarios.definition import ArrivalKind, Arrivals
from scenarios.exact import Floats, cosine

WAVE_PIECES = 96  # a quarter of an hour each where the period is a day; off the wave by 0.06 % of its height at most


@dataclass(frozen=True, slots=True)
class Rates:
    """Piece i begins at `at_s[i]` with the rate `first[i]`, ends `width_s[i]` later with `last[i]`.

    `before[i]`: requests expected before it; one more entry than there are pieces.
    """

    at_s: Floats
    width_s: Floats
    first: Floats
    last: Floats
    before: Floats

    @property
    def highest(self) -> float:
        """The highest rate of all."""
        return float(max(self.first.max(initial=0.0), self.last.max(initial=0.0)))

    def at(self, t_s: Floats) -> Floats:
        """The rate at each time, requests per second."""
        piece = np.clip(np.searchsorted(self.at_s, t_s, side="right") - 1, 0, len(self.at_s) - 1)
        share = np.clip((t_s - self.at_s[piece]) / self.width_s[piece], 0.0, 1.0)
        return np.asarray(self.first[piece] + (self.last[piece] - self.first[piece]) * share)

    def until(self, t_s: Floats) -> Floats:
        """Requests expected before each time."""
        piece = np.clip(np.searchsorted(self.at_s, t_s, side="right") - 1, 0, len(self.at_s) - 1)
        t = np.clip(t_s - self.at_s[piece], 0.0, self.width_s[piece])
        slope = (self.last[piece] - self.first[piece]) / self.width_s[piece]
        return np.asarray(self.before[piece] + self.first[piece] * t + slope * t * t / 2)

    def when(self, count: Floats) -> Floats:
        """The time before which so many are expected: the root of first t + slope t^2 / 2, in the form that does not
        cancel. `count` lies in [0, before[-1])."""
        piece = np.searchsorted(self.before, count, side="right") - 1  # the last of equals: never a piece without any
        rest = count - self.before[piece]
        first, width = self.first[piece], self.width_s[piece]
        slope = (self.last[piece] - first) / width
        root = np.sqrt(np.maximum(first * first + 2 * slope * rest, 0.0))
        return self.at_s[piece] + np.minimum(2 * rest / np.maximum(first + root, 1e-200), width)


@lru_cache(maxsize=8)
def rates_of(arrivals: Arrivals) -> Rates:
    """The pieces of any arrivals but closed ones, which have no rate of their own."""
    pieces = [piece for piece in _pieces(arrivals) if piece[0] > 0.0]
    width, first, last = (np.array(column, dtype=np.float64) for column in zip(*pieces, strict=True))
    at = np.concatenate(([0.0], np.cumsum(width)[:-1]))
    before = np.concatenate(([0.0], np.cumsum((first + last) / 2 * width)))
    return Rates(at, width, first, last, before)


def expected_count(arrivals: Arrivals, until_s: float | None = None) -> float:
    """The number of starts before `until_s` (default: the whole run), on average: the integral of the rate."""
    if arrivals.kind is ArrivalKind.CLOSED:
        return float(arrivals.requests)
    rates = rates_of(arrivals)
    return float(rates.before[-1] if until_s is None else rates.until(np.array([until_s]))[0])


def _pieces(arrivals: Arrivals) -> Iterator[tuple[float, float, float]]:
    """Width, rate at the beginning, rate at the end."""
    base, peak, duration_s = arrivals.base, arrivals.peak, arrivals.duration_s
    match arrivals.kind:
        case ArrivalKind.RAMP:
            yield duration_s, base, peak
        case ArrivalKind.SPIKE:
            yield arrivals.spike_at_s, base, base
            yield arrivals.spike_s, peak, peak
            yield duration_s - arrivals.spike_at_s - arrivals.spike_s, base, base
        case ArrivalKind.DIURNAL:
            yield from _diurnal(arrivals)
        case ArrivalKind.WINDOWS:
            yield from _windows(arrivals)
        case ArrivalKind.TIMES:  # no rate was asked for: the mean of the whole
            mean = len(arrivals.at_s) / duration_s
            yield duration_s, mean, mean
        case ArrivalKind.TRACE if arrivals.recording is not None:
            yield from _recorded(arrivals)
        case _:
            yield duration_s, arrivals.rate, arrivals.rate


def _diurnal(arrivals: Arrivals) -> Iterator[tuple[float, float, float]]:
    if arrivals.rates:
        levels = np.array(arrivals.rates)
    else:
        height = (1.0 - cosine(np.arange(WAVE_PIECES) / WAVE_PIECES)) / 2.0
        levels = arrivals.base + (arrivals.peak - arrivals.base) * height
    n = len(levels)
    step_s = arrivals.period_s / n
    skip_s = arrivals.phase * arrivals.period_s
    for k in itertools.count(int(skip_s / step_s)):
        begin, end = max(k * step_s - skip_s, 0.0), min((k + 1) * step_s - skip_s, arrivals.duration_s)
        if begin >= arrivals.duration_s:
            return
        first, last = float(levels[k % n]), float(levels[(k + 1) % n])
        slope = (last - first) / step_s
        yield end - begin, first + slope * (begin + skip_s - k * step_s), first + slope * (end + skip_s - k * step_s)


def _windows(arrivals: Arrivals) -> Iterator[tuple[float, float, float]]:
    """The rates of all clients together, a step wherever one of them has one."""
    ends: dict[int, list[float]] = {}
    rates: dict[int, list[float]] = {}
    for window in arrivals.windows:
        own = ends.setdefault(window.client, [])
        own.append((own[-1] if own else 0.0) + window.for_s)
        rates.setdefault(window.client, []).append(window.rate)
    edges = np.unique(np.concatenate(list(ends.values())))
    begins = np.concatenate(([0.0], edges[:-1]))
    total = np.zeros_like(begins)
    for client, own in ends.items():
        place = np.searchsorted(own, begins, side="right")
        total += np.append(rates[client], 0.0)[place]
    yield from zip((edges - begins).tolist(), total.tolist(), total.tolist(), strict=True)


def _recorded(arrivals: Arrivals) -> Iterator[tuple[float, float, float]]:
    recording = arrivals.recording
    assert recording is not None
    step_s = recording.length_s / len(recording.counts) / arrivals.speed
    for k, count in enumerate(recording.counts):
        width_s = min(step_s, arrivals.duration_s - k * step_s)
        yield width_s, count / step_s, count / step_s
