"""Target 11: where the warm-up is cut, against the truth of simulated runs, beside plain MSER-5.

TTFT is a level times lognormal noise that follows itself (AR(1) in its logarithm); the level comes down, or up, to 1. A
window is a tenth of the run. Truth: the last moment at which the logarithm of the level is off by more than what a
window's mean can show: two standard errors, or 5 % where that is more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios.stats import binomial, warmup
from scenarios.summary.columns import Floats
from tests.benchmarks.load_bench.table import Row

TARGET = 11
TITLE = "the end of the warm-up"
RUNS, QUICK_RUNS = 200, 40
ASKED = 0.95
FALSE_CUTS = 0.03
SIZES = (300, 1000, 4000)
FOLLOWS = (0.0, 0.3, 0.6)
NOISE = (0.3, 0.6)
SHAPES = ("step", "decay", "ramp", "filling queue", "none")

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Run:
    """TTFT in order, and the share of the run that is warm-up."""

    times_s: Floats
    truth: float


def measure(quick: bool) -> list[Row]:
    """One row for all, one for each shape, and how often something is cut where there is nothing."""
    count = QUICK_RUNS if quick else RUNS
    rows, hits = [], 0
    for shape in SHAPES:
        rng = np.random.default_rng(11)
        runs = [simulated(rng, shape) for _ in range(count)]
        ours = [cut_of(run.times_s) for run in runs]
        peers = [mser5(run.times_s) for run in runs]
        if shape == "none":
            false, by_mser = sum(cut > 0 for cut in ours), sum(cut > 0 for cut in peers)
            rows.append(_row("cut where there is no warm-up", false, count, FALSE_CUTS, by_mser, at_least=False))
            continue
        near = sum(abs(cut - run.truth) <= 1 / warmup.WINDOWS for cut, run in zip(ours, runs, strict=True))
        by_mser = sum(abs(cut - run.truth) <= 1 / warmup.WINDOWS for cut, run in zip(peers, runs, strict=True))
        rows.append(_row(f"cut within a window of the truth: {shape}", near, count, ASKED, by_mser))
        hits += near
    return [_row("cut within a window of the truth: all", hits, count * (len(SHAPES) - 1), ASKED), *rows]


def _row(what: str, hits: int, count: int, bound: float, by_mser: int | None = None, *, at_least: bool = True) -> Row:
    low, high = binomial.interval(hits, count, 0.95)
    note = f"{hits} of {count} runs, 95 % interval {low:.1%} to {high:.1%}"
    if by_mser is not None:
        note += f"; plain MSER-5 {by_mser / count:.1%}"
    return Row(TARGET, what, 100 * hits / count, "%", 100 * bound, at_least=at_least, note=note)


def cut_of(times_s: Floats) -> float:
    """The share of the run that is left out."""
    return warmup.find(times_s).cut / len(times_s)


def mser5(values: Floats) -> float:
    """Plain MSER-5 (White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69,
    1997; batches of 5: White, Cobb and Spratt, WSC 2000): the truncation, in the first half, with the least standard
    error of the mean of what is left.
    """
    count = len(values) // 5
    means = values[: count * 5].reshape(count, 5).mean(axis=1)
    left = count - np.arange(count // 2 + 1)
    sums = np.cumsum(means[::-1])[::-1][: len(left)]
    squares = np.cumsum(means[::-1] ** 2)[::-1][: len(left)]
    return float(np.argmin((squares - sums**2 / left) / left**2)) * 5 / len(values)


def simulated(rng: Rng, shape: str) -> Run:
    """A run of one of the sizes, noises and shapes, the lengths of the warm-up spread over 5 to 35 % of it."""
    n, follows, noise = int(rng.choice(SIZES)), float(rng.choice(FOLLOWS)), float(rng.choice(NOISE))
    level = _level(rng, shape, (np.arange(n) + 0.5) / n)
    shown = 2 * noise * np.sqrt((1 + follows) / (1 - follows) / (n / warmup.WINDOWS))
    off = np.flatnonzero(np.abs(np.log(level)) > max(shown, 0.05))
    truth = (off[-1] + 1) / n if len(off) else 0.0
    return Run(level * np.exp(noise * _ar1(rng, n, follows)), float(truth))


def _level(rng: Rng, shape: str, t: Floats) -> Floats:
    height = rng.uniform(1.5, 4.0)
    match shape:
        case "step":
            return np.where(t < rng.uniform(0.05, 0.35), 1 + height, 1.0)
        case "decay":
            return 1 + height * np.exp(-t / rng.uniform(0.02, 0.08))
        case "ramp":
            return 1 + height * np.maximum(0.0, 1 - t / rng.uniform(0.08, 0.35))
        case "filling queue":
            return 1 - 0.8 * np.exp(-t / rng.uniform(0.02, 0.08))
    return np.ones_like(t)


def _ar1(rng: Rng, n: int, follows: float) -> Floats:
    from scipy.signal import lfilter

    steps = rng.normal(size=n)
    steps[0] /= np.sqrt(1 - follows**2)
    noise: Floats = lfilter([np.sqrt(1 - follows**2)], [1.0, -follows], steps)
    return noise
