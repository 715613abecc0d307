"""Counters, gauges and histograms that cost little to feed and to show, in Prometheus's text exposition format.

One thread only. prometheus_client takes a lock for each observation and milliseconds to show a thousand buckets, which
here would be milliseconds in which no stream moves.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate


def log_bounds(low: float, high: float, factor: float) -> tuple[float, ...]:
    """Bucket bounds from `low` to at least `high`, each `factor` times the one before, rounded to five digits."""
    count = math.ceil(math.log(high / low) / math.log(factor))
    return tuple(float(f"{low * factor**index:.5g}") for index in range(count + 1))


class Counter:
    """Only rises. `name` without the _total that it is shown with; with a label, `labels` gives its parts."""

    def __init__(self, name: str, about: str, label: str = "") -> None:
        self._head = f"# HELP {name}_total {about}\n# TYPE {name}_total counter\n"
        self._name, self._label = f"{name}_total", label
        self._parts: dict[str, Counter] = {}
        self._value = 0.0

    def labels(self, value: str) -> Counter:
        """The part with this value of the label: a word of ours, never text from outside."""
        part = self._parts.get(value)
        if part is None:
            part = self._parts[value] = Counter(self._name.removesuffix("_total"), "")
        return part

    def inc(self, by: float = 1.0) -> None:
        self._value += by

    @property
    def value(self) -> float:
        return self._value

    def render(self) -> str:
        if not self._label:
            return f"{self._head}{self._name} {self._value}\n"
        lines = [f'{self._name}{{{self._label}="{name}"}} {part.value}\n' for name, part in self._parts.items()]
        return self._head + "".join(lines)


class Gauge:
    """The newest value of something."""

    def __init__(self, name: str, about: str) -> None:
        self._head = f"# HELP {name} {about}\n# TYPE {name} gauge\n{name} "
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value

    def render(self) -> str:
        return f"{self._head}{float(self.value)}\n"


class Histogram:
    """How often a value fell between two bounds. The bounds are upper ones and belong to the bucket below them."""

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """One for each bound, and one for what is larger than all."""
        self.sum = 0.0
        self._head = f"# HELP {name} {about}\n# TYPE {name} histogram\n"
        self._lines = "".join(f'{name}_bucket{{le="{le}"}} %d\n' for le in (*bounds, "+Inf"))
        self._tail = f"{name}_sum %r\n{name}_count %d\n"

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def render(self) -> str:
        totals = tuple(accumulate(self.counts))
        return self._head + self._lines % totals + self._tail % (self.sum, totals[-1])
