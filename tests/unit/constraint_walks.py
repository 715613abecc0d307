"""Answers of random tokens that a constraint allows, over the demo model's vocabulary; and the fixtures for it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from engine.config import DEMO_MODEL
from engine.decode.constraint import Constraints, Matcher
from engine.decode.model import Model
from engine.decode.vocabulary import Vocabulary
from engine.wire import Constraint

CLOSING = (b'"', b"}", b"]", b",", b":", b".")


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(DEMO_MODEL, gpu_layers=0, lora=())


@pytest.fixture(scope="module")
def vocab(model: Model) -> Vocabulary:
    return model.vocab


@pytest.fixture(scope="module")
def constraints(vocab: Vocabulary) -> Iterator[Constraints]:
    made = Constraints(vocab)
    yield made
    made.close()


def allowed(matcher: Matcher, vocab: Vocabulary) -> list[int]:
    logits = np.zeros(vocab.size, np.float32)
    matcher.ban(logits)
    assert set(np.unique(logits)) <= {0.0, -np.inf}
    return [int(token) for token in np.flatnonzero(logits == 0.0)]


def walk(constraints: Constraints, vocab: Vocabulary, constraint: Constraint, seed: int, limit: int = 4000) -> str:
    """A text of random tokens that the constraint allows, to its end; after 30 tokens it tends to an end."""
    chance = random.Random(seed)
    written = b""
    matcher = constraints.compile(constraint)
    try:
        for step in range(limit):
            tokens = allowed(matcher, vocab)
            assert tokens, f"nothing can follow {written!r}"
            ends = [token for token in tokens if token in vocab.ends]
            assert not ends or set(ends) == set(vocab.ends)
            if matcher.finished:
                assert tokens == ends
            if ends and (step > 30 or tokens == ends or chance.random() < 0.3):
                return written.decode()
            words = [token for token in tokens if token not in vocab.ends]
            closing = [token for token in words if vocab.piece(token)[:1] in CLOSING]
            token = chance.choice(closing if closing and (step > 30 or chance.random() < 0.3) else words)
            written += vocab.piece(token)
            matcher.accept(token)
        raise AssertionError(f"no end after {limit} tokens: {written!r}")
    finally:
        matcher.close()


def write(matcher: Matcher, vocab: Vocabulary, text: str) -> None:
    for token in vocab.tokenize(text, special=False):
        assert token in allowed(matcher, vocab), (text, vocab.piece(token))
        matcher.accept(token)


def accepts(constraints: Constraints, vocab: Vocabulary, constraint: Constraint, text: str) -> bool:
    """Whether the answer may be `text` and end there."""
    matcher = constraints.compile(constraint)
    try:
        for token in vocab.tokenize(text, special=False):
            if token not in allowed(matcher, vocab):
                return False
            matcher.accept(token)
        return vocab.eos in allowed(matcher, vocab)
    finally:
        matcher.close()
