"""Made-up text: as long as asked for, the same where it is shared and unlike everywhere else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.synthetic import prompt_of
from scenarios.synthetic.words import WORDS

IDS = st.integers(0, 2**32 - 1)


def words(text: str) -> list[str]:
    return text.split(" ")


def test_there_is_one_word_for_each_byte() -> None:
    assert len(WORDS) == len(set(WORDS)) == 256
    assert all(word.isalpha() and word.isascii() for word in WORDS)


@settings(max_examples=100, deadline=None)
@given(tokens=st.integers(1, 3000) | st.just(200_000), blocks=st.lists(IDS, max_size=6), size=st.integers(1, 600))
def test_a_prompt_is_as_many_words_as_tokens_were_asked_for(tokens: int, blocks: list[int], size: int) -> None:
    text = words(prompt_of(tokens, "key", blocks, size))
    assert len(text) == tokens
    assert set(text) <= set(WORDS)


@given(tokens=st.integers(1, 5000), ratio=st.floats(0.5, 3.0))
def test_a_tokenizer_of_another_kind_is_met_by_fewer_or_more_words(tokens: int, ratio: float) -> None:
    assert len(words(prompt_of(tokens, "key", tokens_per_word=ratio))) == max(round(tokens / ratio), 1)


@settings(max_examples=100, deadline=None)
@given(shared=st.lists(IDS, min_size=1, max_size=4), size=st.integers(4, 300), own=st.integers(8, 99), salt=IDS)
def test_prompts_share_exactly_the_blocks_that_they_have_in_common(
    shared: list[int], size: int, own: int, salt: int
) -> None:
    prefix = size * len(shared)
    one = words(prompt_of(prefix + own, "one", shared, size, salt=salt))
    two = words(prompt_of(prefix + own, "two", shared, size, salt=salt))
    assert one[:prefix] == two[:prefix]
    assert one[prefix:] != two[prefix:]
    other = [*shared[:-1], shared[-1] ^ 1]
    assert words(prompt_of(prefix, "", other, size, salt=salt))[: prefix - size] == one[: prefix - size]
    assert words(prompt_of(prefix, "", other, size, salt=salt))[prefix - size :] != one[prefix - size : prefix]


def test_the_last_block_is_cut_off_where_the_prompt_ends() -> None:
    whole = prompt_of(1024, "key", [7, 8], 512)
    assert prompt_of(700, "other", [7, 8], 512) == " ".join(words(whole)[:700])
    assert prompt_of(100, "other", [7, 8], 512) == " ".join(words(whole)[:100])


def test_no_two_blocks_and_no_two_keys_have_the_same_text() -> None:
    assert len({prompt_of(4, "", [block], 4) for block in range(100_000)}) == 100_000
    assert len({prompt_of(12, str(key)) for key in range(100_000)}) == 100_000
    first = [words(prompt_of(1, "", [block], 4))[0] for block in range(256)]
    assert len(set(first)) > 100  # most blocks differ in their first word already


def test_a_salt_exchanges_all_shared_text() -> None:
    plain = {prompt_of(4, "", [block], 4) for block in range(1000)}
    salted = {prompt_of(4, "", [block], 4, salt=0x5EA_7121A1 & 0xFFFFFFFF) for block in range(1000)}
    assert len(plain & salted) == 0


def test_the_text_is_the_same_on_every_machine() -> None:
    text = prompt_of(70_000, "seatrial 7 3", [1, 2, 182_789], 512)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "bda7f0ff9983f239f78ad88b188edfbc61759e4e8c2f8c3cc963fcbe952d9569"
    )


@pytest.mark.parametrize("tokens", [0, -5])
def test_a_prompt_has_at_least_one_word(tokens: int) -> None:
    assert len(words(prompt_of(tokens, "key"))) == 1
