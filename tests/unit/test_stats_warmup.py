"""The warm-up is found where it is, is not found where there is none, and is not cut where nothing is steady."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.stats import alike, warmup


def noise(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.4, n)


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("factor", [4.0, 0.2])
def test_a_cold_start_and_a_queue_that_fills_are_cut_within_a_window(n: int, factor: float) -> None:
    values = noise(1, n)
    values[: n // 5] *= factor
    found = warmup.find(values)
    assert found.enough
    assert not found.why_unsteady
    assert abs(found.cut - n // 5) <= found.window == n // 10


def test_a_slow_decay_is_cut_where_it_can_no_longer_be_told_from_noise() -> None:
    n = 2000
    level = 1 + 3 * np.exp(-np.arange(n) / n / 0.05)
    found = warmup.find(level * noise(2, n))
    shown = 2 * 0.4 / np.sqrt(n / 10)
    truth = int(np.flatnonzero(np.log(level) > shown)[-1])
    assert abs(found.cut - truth) <= found.window


def test_where_there_is_no_warm_up_hardly_anything_is_ever_cut() -> None:
    assert sum(warmup.find(noise(seed, 500)).cut > 0 for seed in range(300)) <= 6


def test_neither_the_unit_nor_extreme_values_play_a_part() -> None:
    values = noise(3, 600)
    values[:100] *= 5
    cut = warmup.find(values).cut
    assert warmup.find(values**3 * 1e6).cut == cut
    values[[350, 470, 590]] = np.inf
    assert abs(warmup.find(values).cut - cut) <= 10


def test_requests_that_were_never_answered_are_the_worst() -> None:
    values = noise(4, 400)
    values[:60] = np.inf
    assert abs(warmup.find(values).cut - 60) <= 40


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (np.linspace(9, 1, 1000), "the last two quarters of the run differ"),
        (np.where(np.arange(1000) < 500, 5.0, 1.0), "never came to the level"),
        (np.where(np.arange(1000) < 800, 1.0, 5.0), "the last two quarters of the run differ"),
    ],
)
def test_what_never_becomes_steady_is_not_cut_but_named(shape: np.ndarray, why: str) -> None:
    found = warmup.find(shape * noise(5, 1000))
    assert found.cut == 0
    assert why in found.why_unsteady


def test_values_that_are_all_alike_are_steady_from_the_first_that_is() -> None:
    assert warmup.find(np.full(100, 0.2)) == warmup.Warmup(cut=0, window=10, worth=100)
    started = np.full(100, 0.2)
    started[:12] = 0.9
    assert warmup.find(started).cut == 12
    assert warmup.find(np.concatenate((np.full(50, 0.9), np.full(50, 0.2)))).why_unsteady


@pytest.mark.parametrize("n", [0, 1, 59])
def test_few_values_are_not_enough_to_look(n: int) -> None:
    assert not warmup.find(np.ones(n)).enough


def test_values_that_follow_each_other_are_worth_fewer() -> None:
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(size=400))
    assert alike.inefficiency(walk) > 20
    assert warmup.find(walk).why_unsteady
    assert alike.inefficiency(rng.normal(size=4000)) < 1.2
    assert alike.inefficiency(np.ones(50)) == alike.inefficiency(np.empty(0)) == 1.0
    follows = np.zeros(20_000)
    for at in range(1, len(follows)):
        follows[at] = 0.6 * follows[at - 1] + rng.normal()
    assert alike.inefficiency(follows) == pytest.approx(1.6 / 0.4, rel=0.15)
    assert alike.likeness(follows > 2.0, follows) >= 1 + 1.5 * 2.4
    assert alike.likeness(np.ones(9, dtype=np.bool_)) == 1.0


def test_of_very_many_values_every_so_many_are_enough() -> None:
    values = noise(9, 300_000)
    values[:40_000] *= 3
    found = warmup.find(values)
    assert found.window == 30_000
    assert abs(found.cut - 40_000) <= 3_000
