"""The sketch is within 1 % of the exact quantile, merges in any order, and forgets on time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.stats.order import quantile
from scenarios.stats.ring import SketchRing
from scenarios.stats.sketch import ERROR, LogSketch, merged

SECONDS = st.floats(1e-6, 1e4)
VALUES = st.lists(SECONDS, min_size=1, max_size=120)


def sketch_of(values: list[float]) -> LogSketch:
    sketch = LogSketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(VALUES, st.floats(0.0, 1.0))
@settings(max_examples=300)
def test_a_quantile_is_within_one_percent_of_the_exact_one(values: list[float], q: float) -> None:
    exact = quantile(np.sort(np.array(values)), q)
    found = sketch_of(values).quantile(q)
    assert exact is not None
    assert found is not None
    assert abs(found - exact) <= exact * ERROR * (1 + 1e-9)


@given(VALUES)
@settings(max_examples=100)
def test_quantiles_never_fall_and_stay_between_the_extremes(values: list[float]) -> None:
    sketch = sketch_of(values)
    found = [sketch.quantile(q) for q in np.linspace(0, 1, 21)]
    assert found == sorted(found, key=lambda value: value or 0.0)
    assert found[-1] is not None
    assert min(values) <= (found[0] or 0.0)
    assert found[-1] <= max(values)


@given(VALUES, VALUES, VALUES)
@settings(max_examples=100)
def test_a_merge_is_the_same_in_any_order_and_the_same_as_counting_at_once(
    a: list[float], b: list[float], c: list[float]
) -> None:
    left = merged([merged([sketch_of(a), sketch_of(b)]), sketch_of(c)])
    right = merged([sketch_of(c), merged([sketch_of(b), sketch_of(a)])])
    assert left == right == sketch_of(a + b + c)


@given(VALUES)
@settings(max_examples=100)
def test_adding_many_at_once_is_as_good_as_one_by_one(values: list[float]) -> None:
    at_once = LogSketch()
    at_once.add_many(values)
    assert at_once.n == len(values)
    for q in (0.0, 0.5, 0.95, 1.0):
        assert at_once.quantile(q) == pytest.approx(sketch_of(values).quantile(q), rel=2.1 * ERROR)


def test_a_million_values_are_counted_quickly_and_within_one_percent() -> None:
    values = np.random.default_rng(2).lognormal(-2, 1, size=1_000_000)
    sketch = LogSketch()
    sketch.add_many(values)
    for q in (0.5, 0.95, 0.99, 0.999):
        exact = quantile(np.sort(values), q)
        assert sketch.quantile(q) == pytest.approx(exact, rel=ERROR)
        assert sketch.at_or_below(exact or 0.0) == pytest.approx(q * 1e6, rel=0.02)


def test_values_outside_the_range_are_counted_and_never_break_it() -> None:
    sketch = sketch_of([0.0, -1.0, 1e-9, 1e7])
    assert sketch.n == 4
    assert sketch.quantile(0.25) == 0.0
    assert sketch.quantile(1.0) == 1e7
    assert (sketch.at_or_below(1e8), sketch.at_or_below(1.0), sketch.at_or_below(-2.0)) == (4, 3, 0)
    many = LogSketch()
    many.add_many([0.0, -1.0, 1e-9, 1e7])
    assert many == sketch


def test_an_empty_sketch_has_no_quantiles() -> None:
    sketch = LogSketch()
    sketch.add_many([])
    assert sketch.quantile(0.5) is None
    assert sketch.quantiles().n == 0
    assert sketch.quantiles().p95 is None


def test_a_ring_forgets_what_is_older_than_its_window() -> None:
    ring = SketchRing(seconds=10)
    ring.add(0.5, 9.0)
    for second in range(1, 10):
        ring.add_many(second + 0.2, [0.1, 0.1])
    assert ring.quantiles(9.9).n == 19
    assert ring.sketch(9.9).largest == 9.0
    assert ring.quantiles(10.0).n == 18
    ring.add_many(10.0, [0.1, 0.1])
    assert ring.sketch(10.1).largest == 0.1
    assert ring.quantiles(10.1).n == 20
    assert ring.quantiles(60.0).n == 0


def test_a_ring_drops_values_that_come_too_late() -> None:
    ring = SketchRing(seconds=2)
    ring.add(5.0, 1.0)
    ring.add(3.0, 7.0)
    assert ring.quantiles(5.0).n == 1
    assert math.isclose(ring.quantiles(5.0).p50 or 0.0, 1.0)
