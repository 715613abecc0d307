"""The drift monitor stays quiet where nothing turns and speaks up, with the cost, where something does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.drift import DriftMonitor, numbers, words
from scenarios.drift.accuracy import AccuracyMonitor
from scenarios.drift.features import BUCKETS, word_counts
from scenarios.request import PlannedRequest

A = (
    "where",
    "is",
    "my",
    "order",
    "number",
    "please",
    "can",
    "you",
    "tell",
    "me",
    "when",
    "the",
    "parcel",
    "will",
    "to",
)
B = ("json", "crypto", "wallet", "transfer", "emulator", "drone", "cluster", "loyalty", "trade", "repair", "the", "to")
PROFILES = ("support-chat", "fraud-triage")


def request(rng: random.Random, era: str = "A", profile: str = "support-chat", size: int = 12) -> PlannedRequest:
    text = " ".join([*rng.choices(A if era == "A" else B, k=size), f"#{rng.randint(1000, 9999)}"])
    amount = rng.gauss(0, 1) + (2 if era == "B" else 0) + 50 * PROFILES.index(profile)
    return PlannedRequest(
        index=0, due_ns=0, path="/", body=b"", profile=profile, era=era, prompt_text=text, numbers=(("amount", amount),)
    )


def run(seed: int, *, turn: bool, n: int = 240, accuracy: float = 0.96, mixed: bool = False) -> DriftMonitor:
    """One request a second; with `turn`, era B grows from none at 40 % of the run to all at 60 %."""
    rng = random.Random(seed)
    monitor = DriftMonitor(n, start_s=0.4 * n if turn else None)
    for i in range(n):
        era = "B" if turn and rng.random() < (i / n - 0.4) / 0.2 else "A"
        profile = rng.choice(PROFILES) if mixed else PROFILES[0]
        size = 40 if profile == "fraud-triage" else 12
        correct = rng.random() < (accuracy if era == "A" else accuracy - 0.5)
        monitor.add(float(i), request(rng, era, profile, size), correct)
    return monitor


def test_a_turn_is_noticed_after_it_starts_and_its_cost_is_told() -> None:
    for seed in range(4):
        facts = run(seed, turn=True, mixed=seed % 2 == 0).facts()
        assert facts["detected"] is True
        assert facts["start_s"] == 96.0
        assert isinstance(facts["delay_s"], float)
        assert 0 < facts["delay_s"] < 70
        assert facts["watched_s"] == pytest.approx(143.0)
        assert facts["accuracy_drop"] == pytest.approx(0.5, abs=0.12)


def test_quiet_runs_stay_quiet_also_with_a_mix_of_profiles() -> None:
    alarms = [run(seed, turn=False, mixed=seed % 2 == 0).facts()["detected_by"] for seed in range(60)]
    assert sum(alarm is not None for alarm in alarms) <= 3  # 2 % of 60 is 1.2; P(more than 3) is below 4 %
    facts = run(1, turn=False).facts()
    assert (facts["detected"], facts["alarm_t_s"], facts["delay_s"], facts["watched_s"]) == (False, None, None, None)
    assert facts["accuracy_b"] is None


def test_worse_answers_alone_raise_the_alarm() -> None:
    rng = random.Random(4)
    monitor = DriftMonitor(300, start_s=150.0)
    for i in range(300):
        monitor.add(float(i), request(rng), rng.random() < (0.95 if i < 150 else 0.5))
    facts = monitor.facts()
    assert facts["detected_by"] == "accuracy"
    assert isinstance(facts["delay_s"], float)
    assert 0 < facts["delay_s"] < 60


def test_a_sample_shows_how_it_stands() -> None:
    monitor = DriftMonitor(100)
    empty = monitor.sample()
    assert (empty.score, empty.p_value, empty.alarm, empty.accuracy_recent) == (None, None, False, None)
    done = run(2, turn=True).sample()
    assert done.alarm
    assert done.score is not None
    assert 0.3 < done.score <= 1.0
    assert done.p_value == pytest.approx(1 / 1001)
    assert done.era_b_share == 1.0
    assert (done.accuracy_reference or 0) > 0.85 > (done.accuracy_recent or 1)


def test_the_same_run_gives_the_same_facts() -> None:
    assert run(3, turn=True, n=150).facts() == run(3, turn=True, n=150).facts()


def test_odd_probes_are_left_out() -> None:
    monitor = DriftMonitor(20)
    monitor.add(1.0, PlannedRequest(index=0, due_ns=0, path="/", body=b"", profile="odd", prompt_text="\ud800"), False)
    assert monitor.facts()["accuracy_a"] is None
    assert "reference=0/20" in repr(monitor)


def test_p_values_of_words_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(8)
    tokens = rng.poisson(0.2, size=(400, 130, BUCKETS)).astype(np.float32)
    tokens *= rng.integers(1, 6, size=(400, 130, 1))  # words of one text come together
    mix = ["a"] * 50 + ["b"] * 30 + ["a"] * 30 + ["b"] * 20
    found = [words.permuted(one[:80], one[80:], mix, seed, 99).p_value for seed, one in enumerate(tokens)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=2.6 * (level * (1 - level) / 400) ** 0.5)


def test_another_mix_of_profiles_is_no_drift_and_a_new_profile_is() -> None:
    rng = random.Random(1)
    mixed = [request(rng, "B" if i % 2 else "A") for i in range(140)]  # stands for two profiles of other words
    counts = np.array([word_counts(one.prompt_text) for one in mixed])
    order = [*range(0, 80, 2), *range(81, 140, 4), *range(83, 140, 4), *range(80, 140, 2), *range(1, 21, 2)]
    names = ["b" if i % 2 else "a" for i in order]
    found = words.compare(counts[order[:70]], counts[order[70:]], names, 0)
    assert found.p_value > 0.01
    new = words.compare(counts[0:100:2], counts[101:140:2], ["a"] * 50 + ["new"] * 20, 0)
    assert new.p_value < 0.01


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_any_text_can_be_counted_and_case_and_digits_do_not_matter(text: str) -> None:
    counts = word_counts(text)
    assert counts.shape == (BUCKETS,)
    assert np.array_equal(word_counts(f"{text} ORDER 17"), word_counts(f"{text} order 93"))


def test_text_that_is_no_unicode_and_floods_of_it_are_counted_too() -> None:
    assert word_counts("\ud800 a").sum() == 2
    assert word_counts("a " * 1_000_000).sum() == 10_000


def test_kolmogorov_smirnov_agrees_with_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(6)
    for shift in (0.0, 0.3, 0.8):
        one, other = list(rng.normal(size=100)), list(rng.normal(shift, size=60))
        assert numbers.ks_p_value(one, other) == pytest.approx(ks_2samp(one, other).pvalue, rel=0.25, abs=0.005)


def test_kolmogorov_smirnov_alarms_no_more_often_than_its_level() -> None:
    rng = np.random.default_rng(9)
    found = np.array([numbers.ks_p_value(list(rng.normal(size=80)), list(rng.normal(size=60))) for _ in range(1500)])
    assert np.mean(found < 0.05) < 0.06


def test_benjamini_hochberg_is_that_of_scipy() -> None:
    from scipy.stats import false_discovery_control

    values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5}
    assert [numbers.adjusted(values)[name] for name in values] == pytest.approx(
        list(false_discovery_control(list(values.values())))
    )
    assert numbers.adjusted({}) == {}


def test_accuracy_alarms_rarely_without_and_soon_with_a_cause() -> None:
    rng = random.Random(12)
    false, delays = 0, []
    for _ in range(150):
        monitor = AccuracyMonitor(reference=100, window=60, planned=360)
        for _ in range(360):
            monitor.add(rng.random() < 0.95)
            if monitor.alarm:
                false += 1
                break
    for _ in range(30):
        monitor = AccuracyMonitor(reference=100, window=60, planned=360)
        for i in range(360):
            monitor.add(rng.random() < (0.95 if i < 150 else 0.6))
            if monitor.alarm:
                delays.append(i - 150)
                break
    assert false <= 4
    assert len(delays) == 30
    assert np.median(delays) < 45
