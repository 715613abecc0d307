"""Sampler chains over logits made up here and written into llama.cpp's own row, as the decode loop writes bans."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import DEMO_MODEL
from engine.decode.llama import Llama
from engine.decode.sampler import Sampler, check_sampling
from engine.errors import DecodeError
from engine.wire import Sampling

A, B, C, D, E = 100, 200, 300, 400, 500
RANKED = {A: 5.0, B: 4.0, C: 3.0, D: 2.0, E: 1.0}
"""Logits of the tokens that matter; all others have a hundred less than these."""
FLAT = dict.fromkeys(range(10, 60), 1.0)


@pytest.fixture(scope="module")
def llama() -> Llama:
    model = Llama(DEMO_MODEL, ctx=64, slots=1, threads=1)
    model.prefill(0, 0, [5, 6, 7], wants_logits=True)
    return model


def row(wanted: dict[int, float], size: int = 1024) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    logits = np.full(size, -100.0, np.float32)
    for token, value in wanted.items():
        logits[token] = value
    return logits


class Draws:
    """Tokens drawn one after another with one sampler."""

    def __init__(self, llama: Llama, sampling: Sampling) -> None:
        self._llama = llama
        made = llama.sampler(sampling)
        assert made is not None
        self._sampler: Sampler = made

    def next(self, wanted: dict[int, float]) -> int:
        self._llama.logits(0)[:] = row(wanted)
        return self._llama.sample(self._sampler, 0)

    def many(self, wanted: dict[int, float], count: int) -> list[int]:
        return [self.next(wanted) for _ in range(count)]

    def __enter__(self) -> Draws:
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.close()


def drawn(llama: Llama, sampling: Sampling, wanted: dict[int, float] = RANKED, count: int = 200) -> list[int]:
    with Draws(llama, sampling) as draws:
        return draws.many(wanted, count)


def test_the_likeliest_token_alone_needs_no_chain(llama: Llama) -> None:
    assert llama.sampler(Sampling(temperature=0.0, top_k=3, top_p=0.1, seed=9)) is None
    assert llama.sampler(Sampling(temperature=1e-9)) is None


def test_ignore_eos_and_min_tokens_are_no_part_of_a_chain(llama: Llama) -> None:
    assert llama.sampler(Sampling(temperature=0.0, ignore_eos=True, min_tokens=9)) is None


def test_top_k_of_one_is_greedy_at_any_temperature(llama: Llama) -> None:
    assert set(drawn(llama, Sampling(temperature=2.0, top_k=1))) == {A}


def test_top_k_cuts_all_but_the_k_likeliest(llama: Llama) -> None:
    assert set(drawn(llama, Sampling(temperature=2.0, top_k=3))) == {A, B, C}


@pytest.mark.parametrize("top_k", [0, -1])
def test_no_top_k_lets_every_likely_token_in(llama: Llama, top_k: int) -> None:
    assert set(drawn(llama, Sampling(temperature=2.0, top_k=top_k))) == set(RANKED)


def test_a_higher_temperature_spreads_the_choice(llama: Llama) -> None:
    cold = drawn(llama, Sampling(temperature=0.3)).count(A)
    hot = drawn(llama, Sampling(temperature=3.0)).count(A)
    assert cold > 180 > 120 > hot


def test_top_p_keeps_the_likeliest_up_to_its_mass(llama: Llama) -> None:
    # Probabilities of A to E are .64 .23 .09 .03 .01.
    assert set(drawn(llama, Sampling(top_p=0.8))) == {A, B}
    assert set(drawn(llama, Sampling(top_p=0.0))) == {A}


def test_min_p_keeps_what_is_not_much_less_likely_than_the_best(llama: Llama) -> None:
    # Relative to A the others have .37 .14 .05 .02.
    assert set(drawn(llama, Sampling(min_p=0.1))) == {A, B, C}


def test_typical_p_drops_a_token_that_surprises_too_little(llama: Llama) -> None:
    likely = {A: 4.0, **FLAT}  # half of the mass on A, the other half on fifty others
    assert A in drawn(llama, Sampling(top_k=0), likely)
    assert A not in drawn(llama, Sampling(top_k=0, typical_p=0.3), likely)


def test_typical_p_knows_what_to_do_among_banned_tokens(llama: Llama) -> None:
    banned = {A: 4.0, **FLAT} | dict.fromkeys(range(600, 900), -math.inf)
    assert A not in drawn(llama, Sampling(top_k=0, typical_p=0.3), banned)


def test_the_same_seed_draws_the_same_tokens_whatever_else_is_drawn(llama: Llama) -> None:
    alone = drawn(llama, Sampling(seed=7), FLAT, 50)
    with Draws(llama, Sampling(seed=7)) as one, Draws(llama, Sampling(seed=8)) as other:
        mixed = []
        for _ in range(50):
            other.next(FLAT)
            mixed.append(one.next(FLAT))
            other.next(RANKED)
    assert mixed == alone
    assert drawn(llama, Sampling(seed=8), FLAT, 50) != alone


@pytest.mark.parametrize("seed", [0, 0xFFFFFFFF, 2**63, -1])
def test_every_seed_is_a_seed(llama: Llama, seed: int) -> None:
    assert drawn(llama, Sampling(seed=seed), FLAT, 30) == drawn(llama, Sampling(seed=seed), FLAT, 30)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_bias_brings_in_a_token_from_outside_of_top_k(llama: Llama, temperature: float) -> None:
    forced = Sampling(temperature=temperature, top_k=2, logit_bias=[(900, 200.0)])
    assert set(drawn(llama, forced, count=50)) == {900}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_bias_of_minus_infinity_bans_a_token_and_the_next_takes_its_place(llama: Llama, temperature: float) -> None:
    banned = Sampling(temperature=temperature, top_k=1, logit_bias=[(A, -math.inf), (B, -math.inf)])
    assert set(drawn(llama, banned, count=50)) == {C}


def test_a_banned_token_cannot_be_biased_back(llama: Llama) -> None:
    assert A not in drawn(llama, Sampling(logit_bias=[(A, 100.0)]), {**RANKED, A: -math.inf})


@pytest.mark.parametrize("temperature", [0.0, 0.01])
@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 1.5}, {"frequency_penalty": 1.5}, {"repeat_penalty": 2.0}], ids=str
)
def test_a_penalty_turns_to_the_next_token(llama: Llama, temperature: float, penalty: dict[str, float]) -> None:
    with Draws(llama, Sampling(temperature=temperature, top_k=1, **penalty)) as draws:  # type: ignore[arg-type]
        assert draws.many({A: 5.0, B: 4.0}, 2) == [A, B]


def test_a_frequency_penalty_grows_and_a_presence_penalty_does_not(llama: Llama) -> None:
    near = {A: 5.0, B: 3.0}
    with Draws(llama, Sampling(temperature=0.0, presence_penalty=1.5)) as draws:
        assert draws.many(near, 5) == [A] * 5
    with Draws(llama, Sampling(temperature=0.0, frequency_penalty=1.5)) as draws:
        assert draws.many(near, 3) == [A, A, B]


def test_penalties_look_back_no_further_than_asked(llama: Llama) -> None:
    with Draws(llama, Sampling(temperature=0.0, presence_penalty=1.5, repeat_last_n=1)) as draws:
        assert draws.many({A: 5.0, B: 4.0}, 4) == [A, B, A, B]
    with Draws(llama, Sampling(temperature=0.0, presence_penalty=1.5, repeat_last_n=-1)) as draws:
        assert draws.many({A: 5.0, B: 4.0, C: 3.8}, 3) == [A, B, C]
    assert llama.sampler(Sampling(temperature=0.0, presence_penalty=1.5, repeat_last_n=0)) is None


def test_a_negative_penalty_brings_a_token_back_from_outside_of_top_k(llama: Llama) -> None:
    with Draws(llama, Sampling(temperature=0.01, top_k=1, presence_penalty=-50.0)) as draws:
        assert draws.next({E: 9.0}) == E
        assert draws.next({A: 5.0, B: 4.0, C: 3.0, D: 2.0, E: -20.0}) == E


def test_end_tokens_are_not_drawn_when_they_were_banned_before(llama: Llama) -> None:
    ends: Sequence[int] = sorted(llama.vocab.ends)
    assert list(llama.vocab.end_tokens) == ends
    sampler = llama.sampler(Sampling(top_k=0))
    assert sampler is not None
    for _ in range(50):
        logits = llama.logits(0)
        logits[:] = row(dict.fromkeys(ends, 50.0) | {A: 1.0, B: 1.0})
        logits[llama.vocab.end_tokens] = -np.inf
        assert llama.sample(sampler, 0) in {A, B}
    sampler.close()


@pytest.mark.parametrize(
    ("sampling", "names"),
    [
        (Sampling(logit_bias=[(1024, 1.0)]), "1024"),
        (Sampling(logit_bias=[(-1, 1.0)]), "-1"),
        (Sampling(logit_bias=[(5, math.inf)]), "logit_bias"),
        (Sampling(logit_bias=[(5, math.nan)]), "logit_bias"),
        (Sampling(temperature=math.nan), "temperature"),
        (Sampling(temperature=math.inf), "temperature"),
        (Sampling(top_p=math.nan), "top_p"),
        (Sampling(frequency_penalty=math.inf), "frequency_penalty"),
        (Sampling(repeat_penalty=0.0), "repeat_penalty"),
    ],
)
def test_what_llama_cpp_would_misread_is_refused_by_name(llama: Llama, sampling: Sampling, names: str) -> None:
    with pytest.raises(DecodeError, match=names):
        check_sampling(sampling, llama.vocab)
    with pytest.raises(DecodeError):
        llama.sampler(sampling)


def test_a_sampler_can_be_closed_twice(llama: Llama) -> None:
    sampler = llama.sampler(Sampling())
    assert sampler is not None
    sampler.close()
    sampler.close()


@settings(max_examples=150, deadline=None)
@given(
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0.0, 5.0),
        top_k=st.integers(-1, 2000),
        top_p=st.floats(0.0, 1.0),
        min_p=st.floats(0.0, 1.0),
        typical_p=st.floats(0.0, 1.0),
        seed=st.integers(0, 2**64),
        presence_penalty=st.floats(-2.0, 2.0),
        frequency_penalty=st.floats(-2.0, 2.0),
        repeat_penalty=st.floats(0.1, 3.0),
        repeat_last_n=st.integers(-1, 5000),
        logit_bias=st.lists(st.tuples(st.integers(0, 1023), st.floats(-100.0, 100.0)), max_size=5),
    ),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    allowed=st.integers(1, 1024),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_settings_draw_an_allowed_token_and_the_same_again(
    llama: Llama, sampling: Sampling, scale: float, allowed: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    logits = (random.standard_normal(1024) * scale).astype(np.float32)
    logits[random.permutation(1024)[allowed:]] = -np.inf
    runs = []
    for _ in range(2):
        sampler = llama.sampler(sampling)
        drawn = []
        for _ in range(6):
            llama.logits(0)[:] = logits
            drawn.append(int(logits.argmax()) if sampler is None else llama.sample(sampler, 0))
        if sampler is not None:
            sampler.close()
        runs.append(drawn)
    assert runs[0] == runs[1]
    assert all(np.isfinite(logits[token]) for token in runs[0])
