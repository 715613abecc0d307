"""KV streams of the real model: copies, cuts and interrupted prompts leave every logit as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
from engine_fixtures import needs_model

from engine.config import DEMO_MODEL
from engine.decode.llama import Interrupted, Llama
from engine.decode.schedule import DecodeRow

pytestmark = needs_model
COUNT = 300


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(DEMO_MODEL, ctx=512, slots=4, threads=1)


@pytest.fixture(scope="module")
def prompt(llama: Llama) -> list[int]:
    rng = random.Random(1)
    return [rng.randrange(5, llama.vocab.size) for _ in range(COUNT)]


def compute(llama: Llama, slot: int, prompt: list[int], start: int, *cuts: int) -> np.ndarray:
    """Logits after the prompt, of which `start` tokens are there, computed in pieces that end at `cuts`."""
    for end in (*cuts, COUNT):
        llama.prefill(slot, start, prompt[start:end], wants_logits=end == COUNT)
        start = end
    return llama.logits(0).copy()


@pytest.fixture(scope="module")
def whole(llama: Llama, prompt: list[int]) -> np.ndarray:
    llama.start(0, 0, 0)
    return compute(llama, 0, prompt, 0, 128, 256)


@pytest.mark.parametrize("cuts", [(200,), (7, 8, 150), (2, 258)])
def test_however_a_prompt_is_cut_its_logits_are_the_same(
    llama: Llama, prompt: list[int], whole: np.ndarray, cuts: tuple[int, ...]
) -> None:
    llama.start(1, 1, 0)
    assert np.array_equal(compute(llama, 1, prompt, 0, *cuts), whole)


@pytest.mark.parametrize("length", [1, 100, 257, COUNT - 1])
def test_a_copied_beginning_is_as_good_as_a_computed_one(
    llama: Llama, prompt: list[int], whole: np.ndarray, length: int
) -> None:
    llama.start(2, 0, length)
    llama.start(3, 2, length)
    cuts = (256,) if length < 40 else ()
    assert np.array_equal(compute(llama, 3, prompt, length, *cuts), whole)


def test_an_interrupted_prompt_leaves_its_stream_as_it_was_and_the_next_call_computes(
    llama: Llama, prompt: list[int], whole: np.ndarray
) -> None:
    llama.start(1, 1, 0)
    llama.prefill(1, 0, prompt[:100], wants_logits=False)
    for _ in range(3):
        llama.interrupt()
        with pytest.raises(Interrupted):
            llama.prefill(1, 100, prompt[100:250], wants_logits=False)
        llama.resume()
    assert llama.lengths[1] == 100
    assert np.array_equal(compute(llama, 1, prompt, 100, 250), whole)
    llama.decode_rows([DecodeRow(1, 0, COUNT, 7), DecodeRow(2, 1, COUNT, 7)])
    assert np.array_equal(llama.logits(0), llama.logits(1))
    llama.start(0, 0, COUNT)
