"""How many more samples would settle an open question, if what was seen so far goes on.

The answer assumes the observed rate and asks at which n its exact interval would lie wholly on one side. It is a
forecast, not a promise: the rate itself is still uncertain. None: no number up to `MOST` would settle it (the rate lies
on the bound or as good as on it), or there is nothing yet to go by.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scenarios.stats import binomial
from scenarios.stats.anytime import RateTest

MOST = 1_000_000


def more_for_rate(
    hits: float, n: float, confidence: float, minimum: float | None = None, maximum: float | None = None
) -> int | None:
    """How many more samples until the exact interval of hits / n clears each bound, on whichever side the rate is."""
    if n <= 0 or hits < 0 or hits > n:
        return None
    rate = hits / n

    def settled(size: float) -> bool:
        low, high = binomial.interval(rate * size, size, confidence)
        if (minimum is not None and high < minimum) or (maximum is not None and low > maximum):
            return True
        return (minimum is None or low >= minimum) and (maximum is None or high <= maximum)

    return _fewest(lambda more: settled(n + more))


def more_for_test(test: RateTest, hits: float, n: float) -> int | None:
    """How many more samples until a test that may be looked at all the time speaks, on whichever side the rate is."""
    if n <= 0:
        return None
    return _fewest(lambda more: test.side(hits / n * (n + more), n + more) != 0)


def more_for_difference(settled: Callable[[float], bool], n: int) -> int | None:
    """How many more requests until `settled`, told how many times as many samples there are as the `n` now."""
    return None if n <= 0 else _fewest(lambda more: settled((n + more) / n))


def more_for_quantile(
    at_or_below: float, n: float, q: float, confidence: float, *, below_is_good: bool = True
) -> int | None:
    """How many more samples until the bound of quantile `q` clears a limit that `at_or_below` of `n` samples keep.

    The quantile is at or below the limit exactly when at least a share q of all values is, so this is the question of a
    rate: order-statistic bounds and Clopper-Pearson limits are the same test. With `below_is_good` false (a minimum),
    count the values strictly below the limit.
    """
    if below_is_good:
        return more_for_rate(at_or_below, n, confidence, minimum=q)
    return more_for_rate(at_or_below, n, confidence, maximum=q)


def in_requests(more: int | None, samples: float, requests: int) -> int | None:
    """Samples turned into requests, at the yield seen so far (`samples` from `requests`); None stays None."""
    if more is None or samples <= 0:
        return None
    needed = math.ceil(more * requests / samples)
    return needed if needed <= MOST else None


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The smallest number up to `MOST` that is enough; from there on all are."""
    if enough(0):
        return 0
    if not enough(MOST):
        return None
    short, plenty = 0, MOST
    while plenty - short > 1:
        middle = (short + plenty) // 2
        if enough(middle):
            plenty = middle
        else:
            short = middle
    return plenty
