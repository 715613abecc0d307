"""Tokens, embeddings, moderations, models, properties and readiness over HTTP, on the demo model."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from engine_fixtures import Running, eventually, needs_model, running

from engine.api.embed import embed
from engine.api.job import Served
from engine.api.request import ClientGone, Request
from engine.api.utility_schemas import parse_embeddings
from engine.safety import CATEGORIES
from engine.wire import ModelFacts

pytestmark = [needs_model, pytest.mark.asyncio(loop_scope="module")]
FACTS = ModelFacts("", 0, 0, "", 10, 1024, 1024, 1, "CPU", 0, 8, "", "", "", "", n_embd=4)
SERVED = Served("model", FACTS, max_messages=1, most_answers=1)
TEXT = "Where is my order <|im_end|> 4711? Größe 36 😀"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Running]:
    async with running(slots=4) as started:
        yield started


async def post(engine: Running, path: str, body: Any) -> httpx.Response:
    return await engine.client.post(path, json=body)


def vectors(response: httpx.Response) -> list[np.ndarray]:
    assert response.status_code == 200, response.text
    return [np.array(item["embedding"], np.float32) for item in response.json()["data"]]


async def test_what_was_tokenised_is_detokenised_to_the_same_text(engine: Running) -> None:
    for path in ("", "/v1"):
        tokens = (await post(engine, f"{path}/tokenize", {"content": TEXT})).json()["tokens"]
        assert tokens
        assert all(isinstance(token, int) for token in tokens)
        assert (await post(engine, f"{path}/detokenize", {"tokens": tokens})).json() == {"content": TEXT}


async def test_a_text_has_three_names_and_exactly_one_is_taken(engine: Running) -> None:
    answers = [(await post(engine, "/tokenize", {name: TEXT})).json() for name in ("content", "text", "prompt")]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["count"] == len(answers[0]["tokens"])
    for body in ({}, {"content": "a", "text": "a"}, {"content": "a", "messages": []}):
        assert (await post(engine, "/tokenize", body)).status_code == 400


async def test_control_tokens_are_recognised_in_a_text_only_on_request(engine: Running) -> None:
    plain = (await post(engine, "/tokenize", {"content": "<|im_end|>"})).json()["tokens"]
    special = (await post(engine, "/tokenize", {"content": "<|im_end|>", "parse_special": True})).json()["tokens"]
    assert len(special) == 1
    assert len(plain) > 1
    assert special[0] not in plain


async def test_pieces_are_text_or_bytes_and_make_the_text_again(engine: Running) -> None:
    tokens = (await post(engine, "/tokenize", {"content": TEXT, "with_pieces": True})).json()["tokens"]
    pieces = [piece.encode() if isinstance(piece := token["piece"], str) else bytes(piece) for token in tokens]
    assert b"".join(pieces).decode() == TEXT
    assert any(isinstance(token["piece"], list) for token in tokens)


async def test_messages_have_as_many_tokens_as_their_prompt_is_charged(engine: Running) -> None:
    messages = [{"role": "user", "content": "What are your opening hours?"}]
    counted = (await post(engine, "/tokenize", {"messages": messages, "add_special": True})).json()["count"]
    answer = await post(engine, "/v1/chat/completions", {"messages": messages, "max_tokens": 1})
    assert answer.json()["usage"]["prompt_tokens"] == counted


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/detokenize", {"tokens": [5, 1 << 30]}, "tokens[1]"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [1 << 70]}, "tokens[0]"),
        ("/detokenize", {"tokens": [True]}, "tokens[0]"),
        ("/detokenize", {"tokens": [1.0]}, "tokens[0]"),
        ("/detokenize", {"tokens": "5"}, "tokens"),
        ("/detokenize", {}, "tokens"),
        ("/tokenize", {"content": 5}, "content"),
        ("/tokenize", {"content": "x", "model": "other"}, "model"),
        ("/tokenize", {"messages": [{"role": "pilot", "content": "x"}]}, "messages[0].role"),
        ("/tokenize", {"content": "x" * 1_000_000}, "content"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ""}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "input[1]"),
        ("/v1/embeddings", {"input": [[1], []]}, "input[1]"),
        ("/v1/embeddings", {"input": [1, "a"]}, "input"),
        ("/v1/embeddings", {"input": [1 << 29]}, "input[0]"),
        ("/v1/embeddings", {"input": {"text": "a"}}, "input"),
        ("/v1/embeddings", {"input": ["a"] * 3_000}, "input"),
        ("/v1/embeddings", {"input": ["a", "a b " * 1_500]}, "input[1]"),
        ("/v1/embeddings", {"input": "a b " * 1_000_000}, "input"),
        ("/v1/embeddings", {"input": "a", "dimensions": 7}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "model": "other"}, "model"),
        ("/v1/moderations", {"input": []}, "input"),
        ("/v1/moderations", {"input": 5}, "input"),
        ("/v1/moderations", {"input": "x" * 1_000_000}, "input"),
        ("/v1/moderations", {"input": [{"type": "image_url", "image_url": {"url": "x"}}]}, "input[0]"),
        ("/v1/moderations", {"input": ["a", {"type": "text", "text": "a"}]}, "input"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_fields_name(engine: Running, path: str, body: Any, param: str) -> None:
    response = await post(engine, path, body)
    assert response.status_code == (404 if param == "model" else 400), response.text
    assert response.json()["error"]["param"] == param
    assert (await engine.client.get("/ready")).status_code == 200


async def test_an_embedding_is_a_unit_vector_that_its_text_alone_determines(engine: Running) -> None:
    texts = ["Where is my order?", "I want to return my shoes", "x"]
    together = await post(engine, "/v1/embeddings", {"input": texts})
    assert together.json()["usage"]["prompt_tokens"] == together.json()["usage"]["total_tokens"] > 3
    assert [item["index"] for item in together.json()["data"]] == [0, 1, 2]
    for text, vector in zip(texts, vectors(together), strict=True):
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        (alone,) = vectors(await post(engine, "/v1/embeddings", {"input": text}))
        assert np.allclose(alone, vector, atol=1e-6)
    assert not np.allclose(vectors(together)[0], vectors(together)[1], atol=1e-2)


async def test_an_embedding_is_the_same_from_tokens_in_base64_and_with_its_dimensions_named(engine: Running) -> None:
    text = "Where is my order?"
    body = {"content": text, "add_special": True}
    tokens = (await post(engine, "/tokenize", body)).json()["tokens"]
    (plain,) = vectors(await post(engine, "/v1/embeddings", {"input": text, "dimensions": 192}))
    (of_tokens,) = vectors(await post(engine, "/v1/embeddings", {"input": tokens}))
    assert np.allclose(plain, of_tokens, atol=1e-6)
    coded = (await post(engine, "/v1/embeddings", {"input": [tokens], "encoding_format": "base64"})).json()
    values = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
    assert np.array_equal(values, of_tokens)


async def test_an_embeddings_client_that_leaves_stops_its_work() -> None:
    asked: list[str] = []
    gone = asyncio.Event()

    class Link:
        async def ask(self, command: object, received_ns: int, key: str) -> None:
            asked.append("asked")
            gone.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked.append("cancelled")
                raise

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError(f"nobody is there to be told {message}")

    request = Request({"method": "POST", "path": "/v1/embeddings", "headers": []}, receive, send)
    parsed = parse_embeddings(b'{"input": ["one", "two"]}', n_embd=4, n_vocab=10)
    with pytest.raises(ClientGone):
        await embed(request, parsed, SERVED, Link())
    assert asked == ["asked", "cancelled"]


async def test_moderations_name_openais_categories_and_our_own(engine: Running) -> None:
    body = {"input": ["Write to jane.roe@harbour-shoes.com", "A quiet day at sea"]}
    answer = (await post(engine, "/v1/moderations", body)).json()
    found, clean = answer["results"]
    assert found["flagged"]
    assert found["categories"]["pii.email"]
    assert found["category_scores"]["pii.email"] > 0
    assert not clean["flagged"]
    assert not any(clean["categories"].values())
    for result in (found, clean):
        assert set(result["categories"]) == set(result["category_scores"])
        assert {"hate", "self-harm/intent", "sexual/minors", *CATEGORIES} <= set(result["categories"])
    assert "jane" not in str(answer)
    assert "hate" in answer["unchecked_categories"]
    assert "pii.email" not in answer["unchecked_categories"]


async def test_parts_are_judged_as_one_text_and_poor_answers_are_not_flagged(engine: Running) -> None:
    parts = [{"type": "text", "text": "my card"}, {"type": "text", "text": "4111 1111 1111 1111"}]
    answer = (await post(engine, "/v1/moderations", {"input": parts})).json()
    assert len(answer["results"]) == 1
    assert answer["results"][0]["categories"]["pii.card"]
    refusal = (await post(engine, "/v1/moderations", {"input": "I'm sorry, but I can't help with that."})).json()
    assert refusal["results"][0]["categories"]["refusal"]
    assert not refusal["results"][0]["flagged"]


async def test_props_say_what_is_served_and_not_where_it_lies(engine: Running) -> None:
    response = await engine.client.get("/props")
    props = response.json()
    assert props["total_slots"] == 4
    assert props["default_generation_settings"]["n_ctx"] == 1024
    assert props["model_path"] == "seatrial-demo.gguf"
    assert "messages" in props["chat_template"]
    assert props["modalities"] == {"vision": False, "audio": False}
    assert props["build_info"]
    assert "/assets/" not in response.text


async def test_models_are_listed_and_looked_up_by_name(engine: Running) -> None:
    listed = (await engine.client.get("/v1/models")).json()
    assert [card["id"] for card in listed["data"]] == ["seatrial-demo"]
    assert (await engine.client.get("/v1/models/seatrial-demo")).json() == listed["data"][0]
    missing = await engine.client.get("/v1/models/other")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_ready_says_no_while_the_decode_process_stands_still_and_yes_again_after() -> None:
    async with running(slots=2, hang_timeout_s=8.0) as engine:

        async def ready() -> bool:
            return (await engine.client.get("/ready")).status_code == 200

        async def unready() -> bool:
            response = await engine.client.get("/ready")
            return response.status_code == 503 and "retry-after" in response.headers

        assert await ready()
        engine.supervisor.kill("decode", signal.SIGSTOP)
        await eventually(unready, "not ready")
        engine.supervisor.kill("decode", signal.SIGCONT)
        await eventually(ready, "ready again")
