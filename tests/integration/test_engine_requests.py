"""What one request may ask of the engine: several answers, several prompts, biases, formats, deadlines, memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from engine_fixtures import Answering, eventually, needs_model, running, served

pytestmark = [needs_model, pytest.mark.asyncio(loop_scope="module")]
CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
ASK = {"messages": [{"role": "user", "content": "What are your opening hours?"}], "max_tokens": 24, "temperature": 0}
STORY = {**ASK, "temperature": 1.5, "top_k": 0, "ignore_eos": True, "seed": 40}
SCHEMA = {
    "type": "object",
    "properties": {"open": {"type": "boolean"}, "day": {"enum": ["Monday", "Sunday"]}},
    "required": ["open", "day"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["supervised", "seatrial serve"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Answering]:
    started = (
        running(response_cache_bytes=1 << 20) if request.param == "supervised" else served("--response-cache", "1MB")
    )
    async with started as engine:
        yield engine


async def post(engine: Answering, path: str, status: int = 200, **body: Any) -> Any:
    reply = await engine.client.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def texts(engine: Answering, path: str, **body: Any) -> list[str]:
    choices = (await post(engine, path, **body))["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in choices]


async def streamed(engine: Answering, path: str, **body: Any) -> tuple[dict[int, str], dict[int, str], dict[str, Any]]:
    """Text and finish reason by index, and the usage, of a stream."""
    said: dict[int, str] = {}
    finishes: dict[int, str] = {}
    usage: dict[str, Any] = {}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with engine.client.stream("POST", path, json={**body, **options}) as response:
        assert response.status_code == 200
        lines = [line async for line in response.aiter_lines() if line]
    assert lines.pop() == "data: [DONE]"
    for line in lines:
        chunk = json.loads(line.removeprefix("data: "))
        usage = chunk["usage"] or usage
        for choice in chunk["choices"]:
            text = choice["text"] if "text" in choice else choice["delta"].get("content", "")
            said[choice["index"]] = said.get(choice["index"], "") + text
            if choice["finish_reason"]:
                finishes[choice["index"]] = choice["finish_reason"]
    return said, finishes, usage


async def test_the_answers_of_one_request_are_those_of_single_ones_with_the_next_seeds(engine: Answering) -> None:
    several = await post(engine, CHAT, **STORY, n=3)
    together = [choice["message"]["content"] for choice in several["choices"]]
    alone = [(await texts(engine, CHAT, **{**STORY, "seed": 40 + number}))[0] for number in range(3)]
    assert together == alone
    assert len(set(together)) == 3
    usage = several["usage"]
    single = (await post(engine, CHAT, **STORY))["usage"]
    assert usage["prompt_tokens"] == single["prompt_tokens"]
    assert usage["completion_tokens"] == 3 * 24
    said, finishes, stream_usage = await streamed(engine, CHAT, **STORY, n=3)
    assert [said[number] for number in range(3)] == alone
    assert set(finishes.values()) == {"length"}
    assert stream_usage["total_tokens"] == usage["total_tokens"]


async def test_several_prompts_are_answered_as_if_each_was_asked_alone(engine: Answering) -> None:
    prompts = ["The order was", "Our shop is", "Please send"]
    body = {"max_tokens": 12, "temperature": 0}
    together = await texts(engine, COMPLETE, prompt=prompts, **body)
    assert together == [(await texts(engine, COMPLETE, prompt=prompt, **body))[0] for prompt in prompts]
    ids = [(await post(engine, "/tokenize", content=prompt))["tokens"] for prompt in prompts]
    assert await texts(engine, COMPLETE, prompt=ids, **body) == together
    assert await texts(engine, COMPLETE, prompt=ids[0], **body) == together[:1]
    said, _, usage = await streamed(engine, COMPLETE, prompt=prompts, **body)
    assert [said[number] for number in range(3)] == together
    assert usage["prompt_tokens"] == sum(len(tokens) for tokens in ids)


async def test_an_echo_is_the_prompt_and_then_the_answer(engine: Answering) -> None:
    body = {"prompt": "The order was", "max_tokens": 8, "temperature": 0}
    (answer,) = await texts(engine, COMPLETE, **body)
    assert await texts(engine, COMPLETE, **body, echo=True) == ["The order was" + answer]
    said, _, _ = await streamed(engine, COMPLETE, **body, echo=True)
    assert said == {0: "The order was" + answer}


async def test_text_offsets_point_at_the_tokens_in_the_text(engine: Answering) -> None:
    body = {"prompt": "The order was", "max_tokens": 12, "temperature": 0, "logprobs": 2, "ignore_eos": True}
    choice = (await post(engine, COMPLETE, **body))["choices"][0]
    tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
    assert len(tokens) == len(offsets) == 12
    assert all(choice["text"].startswith(token, offset) for token, offset in zip(tokens, offsets, strict=True))


async def test_a_banned_token_is_never_chosen_and_a_pushed_one_always(engine: Answering) -> None:
    body = {"prompt": "The order was", "max_tokens": 6, "temperature": 0, "ignore_eos": True}
    (plain,) = await texts(engine, COMPLETE, **body)
    first = (await post(engine, "/tokenize", content="The order was" + plain))["tokens"]
    first = first[len((await post(engine, "/tokenize", content="The order was"))["tokens"])]
    (without,) = await texts(engine, COMPLETE, **body, logit_bias={str(first): -100})
    piece = (await post(engine, "/detokenize", tokens=[first]))["content"]
    assert not without.startswith(piece)
    (only,) = await texts(engine, COMPLETE, **body, logit_bias={str(first): 100})
    assert only == piece * 6


async def test_min_tokens_keeps_an_answer_going(engine: Answering) -> None:
    usual = (await post(engine, CHAT, **{**ASK, "max_tokens": 200}))["usage"]["completion_tokens"]
    assert usual < 150
    longer = await post(engine, CHAT, **{**ASK, "max_tokens": 200}, min_tokens=usual + 20)
    assert longer["usage"]["completion_tokens"] >= usual + 20


@pytest.mark.parametrize("temperature", [0, 1])
async def test_an_answer_is_in_the_format_that_was_asked_for(engine: Answering, temperature: int) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "hours", "schema": SCHEMA, "strict": True}}
    body = {**ASK, "max_tokens": 200, "temperature": temperature, "seed": 3}
    for text in await texts(engine, CHAT, **body, n=2, response_format=format):
        answer = json.loads(text)
        assert set(answer) == {"open", "day"}
        assert answer["day"] in ("Monday", "Sunday")
    said, finishes, _ = await streamed(engine, CHAT, **body, response_format=format)
    assert json.loads(said[0])
    assert finishes == {0: "stop"}
    (chosen,) = await texts(engine, CHAT, **body, grammar='root ::= "yes" | "no"')
    assert chosen in ("yes", "no")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("response_format", {"json_schema": {"name": "x", "schema": {"type": "nonsense"}}}),
        ("response_format", {"json_schema": {"name": "x", "schema": {"$ref": "#/nowhere"}}}),
        ("grammar", "root ::= ("),
        ("grammar", "no rules"),
    ],
)
async def test_a_schema_or_grammar_that_is_wrong_is_always_a_400(
    engine: Answering, param: str, fields: Any, stream: bool
) -> None:
    value = {"type": "json_schema", **fields} if param == "response_format" else fields
    error = (await post(engine, CHAT, 400, **ASK, stream=stream, **{param: value}))["error"]
    assert error["param"] == param
    assert error["message"]


async def test_an_answer_that_comes_too_late_is_a_504_or_ends_its_stream(engine: Answering) -> None:
    long = {**ASK, "max_tokens": 900, "ignore_eos": True}
    error = (await post(engine, CHAT, 504, **long, timeout_s=0.2))["error"]
    assert error["code"] == "deadline_exceeded"
    async with engine.client.stream("POST", CHAT, json={**long, "stream": True, "timeout_s": 0.3}) as response:
        assert response.status_code == 200
        lines = [line async for line in response.aiter_lines() if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "deadline_exceeded"


async def test_a_prompt_that_begins_like_an_earlier_one_is_not_computed_again(engine: Answering) -> None:
    manual = "The manual says that the shop opens at nine. " * 8
    asks = [{"role": "system", "content": manual}, {"role": "user", "content": "Hello"}]
    for _ in range(2):
        usage = (await post(engine, CHAT, messages=asks, max_tokens=4, temperature=1, priority=9))["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert 16 < cached < usage["prompt_tokens"]


async def test_the_same_question_is_answered_from_memory_in_either_form(engine: Answering) -> None:
    body = {**ASK, "messages": [{"role": "user", "content": "Do you sell umbrellas?"}]}
    first = await engine.client.post(CHAT, json=body)
    assert "x-seatrial-cache" not in first.headers
    hits = await engine.metric('seatrial_response_cache_total{result="hit"}')
    again = await engine.client.post(CHAT, json={**body, "user": "another"})
    assert again.headers["x-seatrial-cache"] == "hit"
    assert again.json()["choices"] == first.json()["choices"]
    said, finishes, usage = await streamed(engine, CHAT, **body)
    assert said[0] == first.json()["choices"][0]["message"]["content"]
    assert finishes[0] == first.json()["choices"][0]["finish_reason"]
    assert usage["completion_tokens"] == first.json()["usage"]["completion_tokens"]
    assert await engine.metric('seatrial_response_cache_total{result="hit"}') == hits + 2


async def test_unknown_fields_are_named_and_known_ones_are_not(engine: Answering) -> None:
    reply = await engine.client.post(
        CHAT, json={**ASK, "store": True, "reasoning_effort": "low", "metadata": {"a": "b"}}
    )
    assert reply.headers["x-seatrial-ignored"] == "store, reasoning_effort"
    assert "x-seatrial-ignored" not in (await engine.client.post(CHAT, json=ASK)).headers


async def test_more_answers_than_there_are_places_for_are_refused_together(engine: Answering) -> None:
    long = {**STORY, "max_tokens": 900}
    waiting = [asyncio.create_task(engine.client.post(CHAT, json={**long, "n": 16})) for _ in range(3)]

    async def full() -> bool:
        return (await engine.client.get("/health")).json()["waiting"] >= 24

    await eventually(full, "three requests of sixteen answers each have come in")
    reply = await engine.client.post(CHAT, json={**long, "n": 16})
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    async def empty() -> bool:
        health = (await engine.client.get("/health")).json()
        return bool(health["running"] + health["waiting"] == 0)

    await eventually(empty, "the places of clients that left are free")


async def test_a_client_that_reads_nothing_loses_its_connection_and_its_slot() -> None:
    # Many answers with many logprobs are soon more than what the sockets hold.
    long = {**STORY, "stream": True, "n": 16, "max_tokens": 2000, "logprobs": True, "top_logprobs": 20}
    body = json.dumps(long).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    async with running(write_timeout_s=0.5, ctx=2048) as engine:
        reader, writer = await asyncio.open_connection(*engine.address, limit=1024)
        writer.write(head.encode() + body)

        async def given_up() -> bool:
            return await engine.metric('seatrial_requests_total{outcome="cancelled"}') == 1

        await eventually(given_up, "a client that reads nothing is given up", within_s=60)
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.wait_for(reader.read(1 << 16), 10):
                assert b"[DONE]" not in data
        writer.close()


async def test_each_key_is_known_and_none_is_needed_to_ask_how_the_engine_is(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key\nsecond-key\n")
    async with running(api_key_file=keys, log_requests=True) as engine:
        assert (await engine.client.post(CHAT, json=ASK)).status_code == 401
        for key in ("first-key", "second-key"):
            headers = {"authorization": f"Bearer {key}"}
            assert (await engine.client.post(CHAT, json=ASK, headers=headers)).status_code == 200
        assert [(await engine.client.get(path)).status_code for path in ("/health", "/ready", "/metrics")] == [
            200,
            200,
            401,
        ]

        async def logged() -> bool:
            return engine.supervisor.log_tail().count('"outcome":"ok"') == 2

        await eventually(logged, "both requests are in the log")
        assert "first-key" not in engine.supervisor.log_tail()
