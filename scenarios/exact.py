"""log, exp, cosine and log-gamma from + - * / alone, so that their bits are the same on every machine.

numpy takes them from the C library or from vector units, which agree to a few units in the last place only. A plan is
hashed, so nearly the same is not the same. Each is within 4 units in the last place of the true value (tests).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")  # its last 21 bits are 0: its product with an exponent is exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
_HALF_LN_TAU = float.fromhex("0x1.d67f1c864beb4p-1")
_TAU = float.fromhex("0x1.921fb54442d18p+2")
# Bernoulli numbers B(2k) / (2k (2k - 1)) of Stirling's series
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def log(x: Floats) -> Floats:
    """Logarithm of positive, normal numbers: 2 artanh(f) with f = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2))."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    power = exponent - small.astype(np.float64)
    f = (mantissa - 1.0) / (mantissa + 1.0)
    square = f * f
    series = np.zeros_like(f)
    for k in range(25, 1, -2):
        series = square * (series + 1.0 / k)
    return np.asarray(power * _LN2_HIGH + (2.0 * (f + f * series) + power * _LN2_LOW))


def exp(x: Floats) -> Floats:
    """e**x for x in [-700, 700]: Taylor's series of what is left of x after a whole power of two."""
    power = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    series = np.ones_like(rest)
    for k in range(14, 0, -1):
        series = 1.0 + rest / k * series
    return np.asarray(np.ldexp(series, power.astype(np.int64)))


def cosine(turns: Floats) -> Floats:
    """cos(2 pi turns), by Taylor's series within an eighth of a turn of an axis."""
    part = np.abs(turns - np.rint(turns))  # 0 .. 1/2, cos is even
    mirrored = part > 0.25
    part = np.where(mirrored, 0.5 - part, part)  # cos(pi - a) = -cos(a); now 0 .. 1/4
    near = part <= 0.125
    angle = np.where(near, part, 0.25 - part) * _TAU
    square = angle * angle
    even, odd = np.ones_like(angle), np.ones_like(angle)
    for k in range(9, 0, -1):
        even = 1.0 - square / ((2 * k - 1) * (2 * k)) * even
        odd = 1.0 - square / ((2 * k) * (2 * k + 1)) * odd
    value = np.where(near, even, angle * odd)
    return np.asarray(np.where(mirrored, -value, value))


def log_gamma(x: float) -> float:
    """ln of the gamma function of x > 0: Stirling's series above 16, where the recurrence has carried x."""
    product = 1.0
    while x < 16.0:
        product *= x
        x += 1.0
    series = 0.0
    for coefficient in reversed(_STIRLING):
        series = series / (x * x) + coefficient
    logs = log(np.array([x, product]))
    return float((x - 0.5) * logs[0] - x + _HALF_LN_TAU + series / x - logs[1])
