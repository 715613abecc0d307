"""When requests start: due times of a whole run, from its arrivals and a stream of random bits. Open loop, no clock.

Every gap is rounded to a whole (nano) unit before it is summed and integers are summed from there, and what comes after
uses only + - * / and sqrt: a plan is the same on every machine and numpy version. The random doubles are made here from
the raw 64-bit words of PCG64, the one stream whose values numpy guarantees.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from scenarios.definition import ArrivalKind, Arrivals

NANO = 1_000_000_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Draw = Callable[[int], Floats]


def uniforms(bits: np.random.PCG64, count: int) -> Floats:
    """`count` doubles in [0, 1), multiples of 2**-53, from the generator's raw words."""
    raw = np.atleast_1d(np.asarray(bits.random_raw(count), dtype=np.uint64))
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def expected_count(arrivals: Arrivals, until_s: float | None = None) -> float:
    """The number of requests due before `until_s` (default: the whole run), on average: the integral of the rate."""
    t = arrivals.duration_s if until_s is None else min(max(until_s, 0.0), arrivals.duration_s)
    match arrivals.kind:
        case ArrivalKind.RAMP:
            slope = (arrivals.peak - arrivals.base) / arrivals.duration_s
            return arrivals.base * t + slope * t * t / 2
        case ArrivalKind.SPIKE:
            inside = min(max(t - arrivals.spike_at_s, 0.0), arrivals.spike_s)
            return arrivals.base * (t - inside) + arrivals.peak * inside
        case _:
            return arrivals.rate * t


def due_times_ns(arrivals: Arrivals, bits: np.random.PCG64) -> Ints:
    """Due times in ns from the run's start, ascending, each in [0, duration).

    constant: evenly spaced, the first at 0. poisson: exponential gaps, -ln(1-u)/rate. gamma: a renewal process whose
    gaps have shape 1/cv^2 and mean 1/rate. ramp, spike: an inhomogeneous Poisson process by time rescaling: unit-rate
    arrivals sent through the inverse of the cumulative rate (Cinlar, Introduction to Stochastic Processes, ch. 4).
    """
    duration_ns = round(arrivals.duration_s * NANO)
    match arrivals.kind:
        case ArrivalKind.CONSTANT:
            due = _constant(arrivals.rate, duration_ns)
        case ArrivalKind.POISSON | ArrivalKind.GAMMA:
            due = _renewal(_gaps(arrivals, bits), NANO / arrivals.rate, duration_ns)
        case ArrivalKind.RAMP | ArrivalKind.SPIKE:
            total = expected_count(arrivals)
            count = _renewal(_exponential(bits, NANO), NANO, round(total * NANO))
            invert = _ramp_inverse if arrivals.kind is ArrivalKind.RAMP else _spike_inverse
            due_s = np.minimum(invert(arrivals, count / NANO), arrivals.duration_s)
            due = np.floor(due_s * NANO).astype(np.int64)
    return due[(due >= 0) & (due < duration_ns)]


def _constant(rate: float, duration_ns: int) -> Ints:
    count = math.ceil(duration_ns / NANO * rate) + 1
    return np.floor(np.arange(count, dtype=np.float64) * NANO / rate).astype(np.int64)


def _exponential(bits: np.random.PCG64, mean: float) -> Draw:
    return lambda count: -np.log1p(-uniforms(bits, count)) * mean


def _gaps(arrivals: Arrivals, bits: np.random.PCG64) -> Draw:
    mean_ns = NANO / arrivals.rate
    if arrivals.kind is ArrivalKind.POISSON:
        return _exponential(bits, mean_ns)
    shape = 1.0 / arrivals.cv**2
    return lambda count: np.asarray(gammaincinv(shape, uniforms(bits, count)), dtype=np.float64) * mean_ns / shape


def _renewal(draw: Draw, mean: float, end: int) -> Ints:
    """Running sums of gaps that stay below `end`; gaps are rounded to integers first so that the sums are exact."""
    block = int(end / mean) // 8 + 256
    parts: list[Ints] = []
    reached = 0
    while reached < end:
        gaps = np.minimum(np.rint(draw(block)), float(end)).astype(np.int64)
        sums = reached + np.cumsum(gaps[: max(2**62 // end, 1)])  # a gap is at most `end`: the sum cannot overflow
        parts.append(sums)
        reached = int(sums[-1])
    times = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return times[times < end]


def _ramp_inverse(arrivals: Arrivals, count: Floats) -> Floats:
    """Time at which `count` requests are due: the root of base t + slope t^2 / 2, in the form that does not cancel."""
    slope = (arrivals.peak - arrivals.base) / arrivals.duration_s
    root = np.sqrt(np.maximum(arrivals.base**2 + 2 * slope * count, 0.0))
    return 2 * count / np.maximum(arrivals.base + root, 1e-200)


def _spike_inverse(arrivals: Arrivals, count: Floats) -> Floats:
    """As `_ramp_inverse` for base, peak, base: three straight pieces."""
    before = arrivals.base * arrivals.spike_at_s
    during = arrivals.peak * arrivals.spike_s
    base = max(arrivals.base, 1e-200)  # with base 0 the outer pieces are never reached
    inside = arrivals.spike_at_s + (count - before) / arrivals.peak
    after = arrivals.spike_at_s + arrivals.spike_s + (count - before - during) / base
    return np.where(count < before, count / base, np.where(count < before + during, inside, after))
