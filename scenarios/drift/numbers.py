"""Are recent numbers drawn from where the reference's were? Kolmogorov-Smirnov for each, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

FEWEST = 8  # values of one feature on either side


def ks_p_value(reference: Sequence[float], recent: Sequence[float]) -> float:
    """p of the two-sample Kolmogorov-Smirnov test, asymptotic; too large, never too small, for values with ties.

    Source: Smirnov 1948; the effective size and its small-sample correction by Stephens, JRSS B 32 (1970).
    """
    from scipy.special import kolmogorov

    one, other = np.sort(reference), np.sort(recent)
    every = np.concatenate((one, other))
    gap = np.searchsorted(one, every, side="right") / len(one) - np.searchsorted(other, every, side="right") / len(
        other
    )
    size = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    return float(kolmogorov((size + 0.12 + 0.11 / size) * np.abs(gap).max()))


def adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Benjamini-Hochberg adjusted p-values: alarm where one is below the false discovery rate that is accepted.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
    """
    result: dict[str, float] = {}
    least = 1.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for place in range(len(ordered), 0, -1):
        name, p_value = ordered[place - 1]
        least = min(least, p_value * len(ordered) / place)
        result[name] = least
    return result


def compare(reference: Mapping[str, Sequence[float]], recent: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Adjusted p by feature, for those with enough values on both sides."""
    return adjusted(
        {
            name: ks_p_value(values, recent[name])
            for name, values in reference.items()
            if len(values) >= FEWEST and len(recent.get(name, ())) >= FEWEST
        }
    )
