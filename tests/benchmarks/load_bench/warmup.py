"""Target 11: where the warm-up is cut, against the truth of simulated runs, beside plain MSER-5.

Run: python -m tests.benchmarks.load_bench.warmup [--quick]

TTFT is a level times lognormal noise that follows itself (AR(1) in its logarithm); the level comes down, or up, to 1. A
window is a tenth of the run. Truth: the last moment at which the logarithm of the level is off by more than what a
window's mean can show: two standard errors, or 5 % where that is more.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenarios.stats import binomial, warmup
from scenarios.summary.columns import Floats

TARGET = 11
RUNS, QUICK_RUNS = 200, 40
ASKED = 0.95
FALSE_CUTS = 0.02
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


def measure(quick: bool) -> list[dict[str, Any]]:
    """One row for each shape and one for all; for none the share of runs in which something was cut."""
    count = QUICK_RUNS if quick else RUNS
    rows, hits, all_runs = [], 0, 0
    for shape in SHAPES:
        rng = np.random.default_rng(11)
        runs = [simulated(rng, shape) for _ in range(count)]
        ours = [cut_of(run.times_s) for run in runs]
        peers = [mser5(run.times_s) for run in runs]
        if shape == "none":
            false, by_mser = sum(cut > 0 for cut in ours), sum(cut > 0 for cut in peers)
            rows.append(
                _row("cut where there is no warm-up", f"<= {FALSE_CUTS:.0%}", false, count, by_mser, FALSE_CUTS)
            )
            continue
        near = sum(abs(cut - run.truth) <= 1 / warmup.WINDOWS for cut, run in zip(ours, runs, strict=True))
        by_mser = sum(abs(cut - run.truth) <= 1 / warmup.WINDOWS for cut, run in zip(peers, runs, strict=True))
        rows.append(_row(f"cut within a window of the truth: {shape}", f">= {ASKED:.0%}", near, count, by_mser))
        hits, all_runs = hits + near, all_runs + count
    return [_row("cut within a window of the truth: all", f">= {ASKED:.0%}", hits, all_runs), *rows]


def _row(
    what: str, asked: str, hits: int, count: int, by_mser: int | None = None, most: float | None = None
) -> dict[str, Any]:
    low, high = binomial.interval(hits, count, 0.95)
    beside = "" if by_mser is None else f"; MSER-5 {by_mser / count:.1%}"
    return {
        "target": TARGET,
        "what": what,
        "asked": asked,
        "measured": f"{hits / count:.1%} of {count} runs{beside}",
        "interval": f"{low:.1%} to {high:.1%}",
        "met": hits / count <= most if most is not None else hits / count >= ASKED,
    }


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


if __name__ == "__main__":
    for row in measure("--quick" in sys.argv):
        print(json.dumps(row))
