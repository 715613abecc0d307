"""The official `openai` client against the engine: what it sends is taken, what it gets it can read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from engine_fixtures import Answering, needs_model, running, served

openai = pytest.importorskip("openai", reason="the openai package is not installed: pip install openai")
pytestmark = [needs_model, pytest.mark.asyncio(loop_scope="module")]
MODEL = "seatrial-demo"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What are your opening hours?"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["supervised", "seatrial serve"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Answering]:
    async with running() if request.param == "supervised" else served() as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="module")
async def client(engine: Answering) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_chats_are_answered_whole_and_streamed_alike(client: Any) -> None:
    whole = await client.chat.completions.create(**ASK, max_tokens=200, temperature=0)
    async with client.chat.completions.stream(
        **ASK, max_tokens=200, temperature=0, stream_options={"include_usage": True}
    ) as stream:
        async for _event in stream:
            pass
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert streamed.usage.total_tokens == whole.usage.total_tokens
    assert streamed.usage.prompt_tokens_details.cached_tokens > 0


async def test_several_answers_carry_their_logprobs(client: Any) -> None:
    reply = await client.chat.completions.create(**ASK, n=2, seed=3, max_tokens=8, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert all(len(entry.top_logprobs) == 2 for choice in reply.choices for entry in choice.logprobs.content)


async def test_a_json_schema_is_obeyed(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"hour": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["hour"],
        "additionalProperties": False,
    }
    format = {"type": "json_schema", "json_schema": {"name": "opening", "schema": schema, "strict": True}}
    reply = await client.chat.completions.create(**ASK, max_tokens=100, response_format=format)
    assert 0 <= json.loads(reply.choices[0].message.content)["hour"] <= 9


async def test_completions_take_several_prompts_and_token_ids(client: Any) -> None:
    reply = await client.completions.create(model=MODEL, prompt=["One", "Two"], max_tokens=4, logprobs=1, stop=["."])
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert len(reply.choices[0].logprobs.tokens) == len(reply.choices[0].logprobs.text_offset)
    stream = await client.completions.create(model=MODEL, prompt=[5, 6, 7], max_tokens=4, stream=True)
    finishes = [chunk.choices[0].finish_reason async for chunk in stream]
    assert finishes[-1] in ("length", "stop")


async def test_errors_are_raised_as_the_clients_own(client: Any) -> None:
    for fields, error, param in (
        ({"n": 99}, openai.BadRequestError, "n"),
        ({"model": "gpt-9"}, openai.NotFoundError, "model"),
        ({"logit_bias": {"x": 1}}, openai.BadRequestError, "logit_bias"),
    ):
        with pytest.raises(error) as caught:
            await client.chat.completions.create(**{**ASK, **fields})
        assert caught.value.param == param


async def test_a_full_engine_is_a_rate_limit_error() -> None:
    async with running(slots=1, queue_limit=0) as engine:
        url = f"{engine.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asks = [client.chat.completions.create(**ASK, extra_body={"ignore_eos": True}) for _ in range(4)]
            replies = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(isinstance(reply, openai.RateLimitError) for reply in replies) == 3
