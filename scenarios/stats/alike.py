"""How many independent values a series is worth: requests that follow each other are alike, as they share a queue.

Statistical inefficiency: 1 + 2 times the sum of autocorrelations, up to the first pair of lags whose sum is not
positive (Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7, 1992), at least 1. n values are worth
n / g.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.stats.order import Floats

MOST = 1 << 17  # values from which g is estimated, the last ones: its error is then about a hundredth
CAUTION = 1.5  # an estimate of g is as often too low as too high; measured in queues at 50 to 90 % load


def inefficiency(series: Floats) -> float:
    """g of a series in its order, at least 1; 1 for a constant one. It costs O(n log n), at most that of `MOST`."""
    series = series[-MOST:]
    n = len(series)
    centred = series - series.mean() if n else series
    if n < 4 or not centred.any():
        return 1.0
    spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[:n]
    correlation /= correlation[0]
    pairs = correlation[0 : n - 1 : 2] + correlation[1:n:2]
    ends = np.flatnonzero(pairs <= 0.0)
    positive = pairs[: ends[0]] if len(ends) else pairs
    return max(1.0, 2.0 * float(positive.sum()) - 1.0)


def normal_scores(values: Floats, reference: Floats) -> Floats:
    """Each value by its place (mid-rank) among the `reference` sorted upwards, as a quantile of the normal
    distribution.

    Neither the unit nor a few extreme values play a part; infinity is the worst.
    """
    from scipy.special import ndtri

    places = (np.searchsorted(reference, values, "left") + np.searchsorted(reference, values, "right")) / 2
    scores: Floats = ndtri((places + 0.5) / (len(reference) + 1))
    return scores


def likeness(hits: npt.NDArray[np.bool_], times: Floats | None = None) -> float:
    """By what to divide counts of hits before they are tested as if independent, at least 1.

    The larger inefficiency of the hits and of the times that they were made of: a tail that was hardly seen yet does
    not show how long its visits are, the whole series does. What is above 1 counts `CAUTION` times.
    """
    g = inefficiency(hits[-MOST:].astype(np.float64))
    if times is not None and len(times):
        last = times[-MOST:]
        g = max(g, inefficiency(normal_scores(last, np.sort(last))))
    return 1.0 + CAUTION * (g - 1.0)
