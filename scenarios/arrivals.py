"""When requests start: due times of a whole run, from its arrivals and a stream of random bits. No clock.

Gaps come from exact arithmetic (scenarios.draws), are rounded to whole (nano) units before they are summed, and
integers are summed from there; what comes after uses only + - * / and sqrt. So a plan is the same on every machine.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import groupby

import numpy as np
import numpy.typing as npt

from scenarios import draws
from scenarios.definition import ArrivalKind, Arrivals, Window
from scenarios.draws import Draw
from scenarios.rates import Rates, rates_of

NANO = 1_000_000_000

Ints = npt.NDArray[np.int64]


def due_times_ns(arrivals: Arrivals, bits: np.random.PCG64, recorded_ns: Ints | None = None) -> Ints:
    """Due times in ns from the run's start, ascending, each in [0, duration).

    constant: evenly spaced, the first at 0. poisson, gamma, weibull: a renewal process of mean gap 1/rate; the first
    request comes after one gap. ramp, spike, diurnal: an inhomogeneous Poisson process by time rescaling: unit-rate
    arrivals sent through the inverse of the cumulative rate (Cinlar, Introduction to Stochastic Processes, ch. 4).
    windows: the same with gaps of the distribution of the window in which each begins. trace: `recorded_ns`, the times
    of the file at the speed asked for. times: as they are given. closed: all at 0; who waits for whom is the timeline's
    affair.
    """
    duration_ns = round(arrivals.duration_s * NANO)
    match arrivals.kind:
        case ArrivalKind.CLOSED:
            return np.zeros(arrivals.requests, dtype=np.int64)
        case ArrivalKind.TRACE:
            assert recorded_ns is not None
            due = recorded_ns
        case ArrivalKind.TIMES:
            due = np.array([round(at_s * NANO) for at_s in arrivals.at_s], dtype=np.int64)
        case ArrivalKind.CONSTANT:
            due = _constant(arrivals.rate, duration_ns)
        case ArrivalKind.POISSON | ArrivalKind.GAMMA | ArrivalKind.WEIBULL:
            due = _renewal(_unit_gaps(arrivals, bits), NANO / arrivals.rate, duration_ns)
        case ArrivalKind.RAMP | ArrivalKind.SPIKE | ArrivalKind.DIURNAL:
            total = round(float(rates_of(arrivals).before[-1]) * NANO)
            due = _rescaled(rates_of(arrivals), _renewal(draws.exponential(bits), NANO, total))
        case ArrivalKind.WINDOWS:
            due = _of_clients(arrivals, bits)
    return due[(due >= 0) & (due < duration_ns)]


def _constant(rate: float, duration_ns: int) -> Ints:
    count = math.ceil(duration_ns / NANO * rate) + 1
    return np.floor(np.arange(count, dtype=np.float64) * NANO / rate).astype(np.int64)


def _unit_gaps(arrivals: Arrivals | Window, bits: np.random.PCG64) -> Draw:
    if isinstance(arrivals, Window):
        weibull, poisson = arrivals.weibull, arrivals.cv == 1.0
    else:
        weibull, poisson = arrivals.kind is ArrivalKind.WEIBULL, arrivals.kind is ArrivalKind.POISSON
    if poisson:
        return draws.exponential(bits)
    return draws.weibull(bits, arrivals.cv) if weibull else draws.gamma(bits, arrivals.cv)


def _renewal(draw: Draw, mean: float, end: int, begin: int = 0) -> Ints:
    """Running sums of gaps of that mean from `begin` on, up to the first that is not below `end`, with it.

    Gaps are rounded to integers first so that the sums are exact.
    """
    block = int((end - begin) / mean) // 8 + 256
    parts: list[Ints] = []
    reached = begin
    while reached < end:
        gaps = np.minimum(np.rint(draw(block) * mean), float(end)).astype(np.int64)
        sums = reached + np.cumsum(gaps[: max(2**62 // end, 1)])  # a gap is at most `end`: the sum cannot overflow
        if len(sums):
            parts.append(sums)
            reached = int(sums[-1])
    times = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return times[: int(np.searchsorted(times, end)) + 1]


def _of_clients(arrivals: Arrivals, bits: np.random.PCG64) -> Ints:
    """Every client's windows with chance of its own, put together."""
    parts: list[Ints] = []
    for client, windows in groupby(arrivals.windows, key=lambda window: window.client):
        alone = dataclasses.replace(arrivals, windows=tuple(windows))
        parts.append(_rescaled(rates_of(alone), _windows(alone.windows, bits.jumped(client) if client else bits)))
    return np.sort(np.concatenate(parts))


def _windows(windows: tuple[Window, ...], bits: np.random.PCG64) -> Ints:
    """Operational times in 10^-9 of a request: a gap that reaches beyond its window goes on at the next one's rate."""
    parts: list[Ints] = []
    end = 0.0
    reached = 0
    for window in windows:
        end += window.rate * window.for_s * NANO
        if reached >= round(end):
            continue
        times = _renewal(_unit_gaps(window, bits), NANO, round(end), reached)
        parts.append(times)
        reached = int(times[-1])
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _rescaled(rates: Rates, operational: Ints) -> Ints:
    """Times in ns at which so many 10^-9 of a request are due."""
    count = operational / NANO
    return np.floor(rates.when(count[count < rates.before[-1]]) * NANO).astype(np.int64)
