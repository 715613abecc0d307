"""Random whole numbers of tokens and turns, the same on every machine."""

from __future__ import annotations

import numpy as np

from scenarios import draws, exact
from scenarios.arrivals import Ints
from scenarios.definition import Lengths, Spread


def lengths(spec: Lengths, bits: np.random.PCG64, count: int) -> Ints:
    """`count` numbers of that spread, rounded and cut off at its bounds."""
    match spec.spread:
        case Spread.CONSTANT:
            numbers = np.full(count, spec.mean)
        case Spread.UNIFORM:
            numbers = spec.low + np.floor(draws.uniforms(bits, count) * (spec.high - spec.low + 1))
        case Spread.NORMAL:
            numbers = spec.mean * (1.0 + spec.cv * draws.take(draws.normal(bits), count))
        case Spread.LOGNORMAL:
            # of mean m and variation c: sigma^2 = ln(1 + c^2), mu = ln m - sigma^2 / 2
            variance, log_mean = exact.log(np.array([1.0 + spec.cv * spec.cv, spec.mean]))
            powers = log_mean - variance / 2.0 + np.sqrt(variance) * draws.take(draws.normal(bits), count)
            numbers = exact.exp(np.clip(powers, -700.0, 700.0))
    return np.asarray(np.clip(np.rint(numbers), spec.low, spec.high).astype(np.int64))
