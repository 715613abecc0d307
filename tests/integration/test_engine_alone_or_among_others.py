"""A greedy answer must not depend on who is decoded beside it: 100 prompts alone, and each among 15 others."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import pytest
from engine_fixtures import Running, needs_model, running

from scenarios.profiles import PROFILES, Era

pytestmark = needs_model
PROMPTS = 100
SEED = 20261123


@dataclass(frozen=True)
class Answer:
    text: str
    margins: tuple[float, ...]
    """Per token: how much likelier the first choice was than the second, in nats."""


def bodies() -> list[dict[str, Any]]:
    """Prompts of every profile, 20 each."""
    rng = random.Random(SEED)
    chosen = []
    for index in range(PROMPTS):
        profile = list(PROFILES.values())[index % len(PROFILES)]
        task = profile.sample(rng, Era.A)
        messages = [{"role": message.role, "content": message.content} for message in task.messages]
        messages = messages or [{"role": "user", "content": task.prompt}]
        limit = min(task.max_tokens, 64)
        chosen.append(
            {"messages": messages, "temperature": 0, "max_tokens": limit, "logprobs": True, "top_logprobs": 2}
        )
    return chosen


async def ask(engine: Running, body: dict[str, Any]) -> Answer:
    reply = await engine.client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    choice = reply.json()["choices"][0]
    tops = [entry["top_logprobs"] for entry in choice["logprobs"]["content"]]
    return Answer(choice["message"]["content"], tuple(top[0]["logprob"] - top[1]["logprob"] for top in tops))


@pytest.mark.parametrize(("deterministic", "count"), [(False, PROMPTS), (True, PROMPTS // 5)])
async def test_a_greedy_answer_is_the_same_alone_and_among_fifteen_others(deterministic: bool, count: int) -> None:
    async with running(slots=16, queue_limit=100, deterministic=deterministic) as engine:
        requests = bodies()[:count]
        alone = [await ask(engine, body) for body in requests]
        gate = asyncio.Semaphore(16)

        async def among(body: dict[str, Any]) -> Answer:
            async with gate:
                return await ask(engine, body)

        together = await asyncio.gather(*(among(body) for body in requests))
    different = [
        f"prompt {index}: {one.text!r} / {other.text!r}, smallest margin {min(one.margins):.2g} nats"
        for index, (one, other) in enumerate(zip(alone, together, strict=True))
        if one.text != other.text
    ]
    assert not different, "\n".join(different)
    exact = sum(one.margins == other.margins for one, other in zip(alone, together, strict=True))
    assert exact == count, f"only {exact} of {count} had the same probabilities to the last bit"
