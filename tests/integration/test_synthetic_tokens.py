"""Made-up text against a real tokenizer: a word is a token."""

from __future__ import annotations

import pytest
from engine_fixtures import needs_model, running

from scenarios.synthetic import prompt_of

pytestmark = [needs_model, pytest.mark.asyncio]


async def test_a_made_up_prompt_is_as_many_tokens_as_were_asked_for() -> None:
    async with running(slots=1) as engine:
        for tokens in (1, 20, 500, 900):
            for key in ("a", "b", "c"):
                prompt = prompt_of(tokens, key, [1, 2], 128)
                counted = len((await engine.client.post("/tokenize", json={"content": prompt})).json()["tokens"])
                assert tokens <= counted <= tokens + 2  # the first word has no space in front
