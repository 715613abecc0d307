"""Random numbers of a plan: from the raw words of PCG64 by exact arithmetic, the same on every machine.

The raw words are the one stream whose values numpy guarantees; its distributions may change with a version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from scenarios import exact

Floats = npt.NDArray[np.float64]
Draw = Callable[[int], Floats]
"""The next numbers, up to so many; how many are asked for at a time does not change them."""


def stream(seed: int, number: int) -> np.random.PCG64:
    """The generator of one decision; each has its own, so that a change of one does not reshuffle the others."""
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(number,)))


def uniforms(bits: np.random.PCG64, count: int) -> Floats:
    """`count` doubles in [0, 1), multiples of 2**-53, from the generator's raw words."""
    raw = np.atleast_1d(np.asarray(bits.random_raw(count), dtype=np.uint64))
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(bits: np.random.PCG64, count: int) -> npt.NDArray[np.int64]:
    """The numbers 0 to `count` - 1 shuffled."""
    return np.argsort(uniforms(bits, count), kind="stable")


def weighted(bits: np.random.PCG64, weights: Sequence[float], count: int) -> npt.NDArray[np.int64]:
    """Places of `weights`, each as often as its share of them; one of weight 0 never comes."""
    edges = list(accumulate(weights))
    last = max(
        i for i, edge in enumerate(edges) if i == 0 or edge > edges[i - 1]
    )  # rounding may leave a gap at the top
    return np.minimum(np.searchsorted(edges, uniforms(bits, count) * edges[-1], side="right"), last)


def take(draw: Draw, count: int) -> Floats:
    """Exactly `count` numbers."""
    parts: list[Floats] = []
    missing = count
    while missing > 0:
        parts.append(draw(missing + missing // 2 + 16)[:missing])
        missing -= len(parts[-1])
    return np.concatenate(parts) if parts else np.empty(0)


def exponential(bits: np.random.PCG64) -> Draw:
    """Exponential numbers of mean 1, -ln(1 - u); 1 - u is exact."""
    return lambda count: -exact.log(1.0 - uniforms(bits, count))


def weibull(bits: np.random.PCG64, cv: float) -> Draw:
    """Weibull numbers of mean 1 and that coefficient of variation: (-ln(1 - u))**(1/k) / gamma(1 + 1/k)."""
    power = _weibull_power(cv)
    log_mean = exact.log_gamma(1.0 + power)
    draw = exponential(bits)
    tiny = 2.0**-1000  # u = 0 gives 0, which has no logarithm

    def numbers(count: int) -> Floats:
        return exact.exp(np.maximum(power * exact.log(np.maximum(draw(count), tiny)) - log_mean, -700.0))

    return numbers


def gamma(bits: np.random.PCG64, cv: float) -> Draw:
    """Gamma numbers of mean 1 and shape 1 / cv^2, by Marsaglia and Tsang (ACM TOMS 26, 2000); a cv of 0 is always 1.

    Four uniforms make one candidate: two for a normal number by the polar method, one to accept it, and one for the
    power that carries shape a + 1 to a shape a below 1. A candidate that is refused leaves no number behind.
    """
    if cv <= 0.0:
        return lambda count: np.ones(count)
    shape = 1.0 / (cv * cv)
    d = (shape if shape >= 1.0 else shape + 1.0) - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)

    def numbers(count: int) -> Floats:
        normal, accept, boost = _normal(bits, count, 2)
        root = 1.0 + c * normal
        cube = root * root * root
        kept = root > 0.0
        log_cube = exact.log(np.where(kept, cube, 1.0))
        kept &= exact.log(1.0 - accept) < 0.5 * normal * normal + d * (1.0 - cube + log_cube)
        values = d * cube[kept]
        if shape < 1.0:
            log_boost = exact.log(1.0 - boost[kept]) / shape
            values = values * np.where(log_boost > -700.0, exact.exp(np.maximum(log_boost, -700.0)), 0.0)
        return np.asarray(values / shape)

    return numbers


def normal(bits: np.random.PCG64) -> Draw:
    """Normal numbers of mean 0 and deviation 1."""
    return lambda count: _normal(bits, count, 0)[0]


def _normal(bits: np.random.PCG64, count: int, more: int) -> tuple[Floats, ...]:
    """Up to `count` normal numbers by the polar method of Marsaglia, and `more` uniforms for each of them."""
    chance = uniforms(bits, (2 + more) * count).reshape(count, 2 + more)
    a, b = 2.0 * chance[:, 0] - 1.0, 2.0 * chance[:, 1] - 1.0
    square = a * a + b * b
    inside = (square < 1.0) & (square > 0.0)
    square = square[inside]
    return a[inside] * np.sqrt(-2.0 * exact.log(square) / square), *chance[inside, 2:].T


def _weibull_power(cv: float) -> float:
    """1/k of the Weibull distribution whose coefficient of variation is `cv`, by halving: it rises with 1/k.

    cv^2 = gamma(1 + 2/k) / gamma(1 + 1/k)^2 - 1.
    """
    wanted = float(exact.log(np.array([1.0 + cv * cv]))[0])
    low, high = 0.0, 64.0
    for _ in range(80):
        middle = (low + high) / 2.0
        reached = exact.log_gamma(1.0 + 2.0 * middle) - 2.0 * exact.log_gamma(1.0 + middle)
        low, high = (middle, high) if reached < wanted else (low, middle)
    return high
