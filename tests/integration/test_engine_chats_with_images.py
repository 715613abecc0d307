"""Chats with images on the embedded engine; projectors of random weights. Most need libmtmd (SEATRIAL_IMAGES=1)."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine_fixtures import Running, needs_model, running
from tiny_projector import DEMO_WIDTH, write_model_with_grid, write_projector

from engine.errors import StartError
from tests.pictures import data_url, jpeg, png


def _has_libmtmd() -> bool:
    spec = importlib.util.find_spec("llama_cpp")
    places = list(spec.submodule_search_locations or ()) if spec else []
    folders = [Path(os.environ["MTMD_CPP_LIB"])] if "MTMD_CPP_LIB" in os.environ else [Path(p) / "lib" for p in places]
    return any(any(folder.glob("*mtmd*")) for folder in folders)


HAS_LIBMTMD = _has_libmtmd()
needs_images = pytest.mark.skipif(not HAS_LIBMTMD, reason="llama.cpp was built without libmtmd: SEATRIAL_IMAGES=1")
pytestmark = needs_model

CAT, DOG = png(1), png(2, 80, 40)


async def look(engine: Running, *parts: str | bytes, **more: Any) -> httpx.Response:
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in parts
    ]
    messages = [{"role": "user", "content": content}]
    body = {"messages": messages, "max_tokens": 12, "temperature": 0, "logprobs": True, **more}
    return await engine.client.post("/v1/chat/completions", json=body)


async def seen(engine: Running, *parts: str | bytes, **more: Any) -> list[tuple[str, float]]:
    """The answer's tokens with their log probabilities."""
    response = await look(engine, *parts, **more)
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    return [(token["token"], token["logprob"]) for token in choice["logprobs"]["content"]]


def alike(left: list[tuple[str, float]], right: list[tuple[str, float]]) -> bool:
    """The same tokens; their probabilities may differ in the last digits."""
    return [token for token, _value in left] == [token for token, _value in right] and all(
        abs(one - other) < 0.05 for (_, one), (_, other) in zip(left, right, strict=True)
    )


@pytest.fixture(params=["mlp", "gemma3", "qwen2vl_merger"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A model and a projector of each kind: rows like text's, rows that see each other, rows in a grid."""
    write_projector(tmp_path / "mmproj.gguf", request.param)
    found: dict[str, Any] = {"mmproj": tmp_path / "mmproj.gguf", "slots": 4, "threads": 1}
    if request.param == "qwen2vl_merger":
        write_model_with_grid(tmp_path / "model.gguf")
        found["model"] = tmp_path / "model.gguf"
    return found


@needs_images
async def test_an_answer_depends_on_the_image_and_on_nothing_else(settings: dict[str, Any]) -> None:
    async with running(**settings) as engine:
        first = await seen(engine, "What is ", CAT, "this?")
        other = await seen(engine, "What is ", DOG, "this?")
        both = await seen(engine, "What is ", CAT, "this?", DOG, "And that?")
        swapped = await seen(engine, "What is ", DOG, "this?", CAT, "And that?")
        ended = await seen(engine, "What is this?", jpeg(9))
        assert len({str(answer) for answer in (first, other, both, swapped, ended)}) == 5
        prompts: list[tuple[str | bytes, ...]] = [
            ("What is ", CAT, "this?"),
            ("What is ", DOG, "this?"),
            ("What is ", CAT, "this?", DOG, "And that?"),
            ("What is ", DOG, "this?", CAT, "And that?"),
            ("What is this?", jpeg(9)),
        ]
        together = await asyncio.gather(*(seen(engine, *parts) for parts in prompts * 3))
    assert all(map(alike, together, [first, other, both, swapped, ended] * 3))


@needs_images
async def test_a_prompt_with_the_same_image_is_taken_from_the_cache_and_one_with_another_is_not(
    settings: dict[str, Any],
) -> None:
    async with running(**settings) as engine:
        cold = (await look(engine, "What is ", CAT, "this?")).json()
        warm = (await look(engine, "What is ", CAT, "this?")).json()
        other = (await look(engine, "What is ", DOG, "this?")).json()
        text = (await look(engine, "What is this?")).json()
    count = cold["usage"]["prompt_tokens"]
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in (cold, warm, other)]
    assert count >= text["usage"]["prompt_tokens"] + 4
    assert cached[:2] == [0, count - 1]
    assert cached[2] < count - 4
    assert warm["choices"][0]["message"] == cold["choices"][0]["message"]


@needs_images
@pytest.mark.parametrize("mode", [{"prefill_chunk": 3}, {"deterministic": True}, {"prefix_cache": False}])
async def test_neither_small_chunks_nor_a_fixed_shape_nor_sharing_change_the_answer(
    settings: dict[str, Any], mode: dict[str, Any]
) -> None:
    parts: tuple[str | bytes, ...] = ("What is ", CAT, "this, and ", DOG, "that?")
    async with running(**settings) as engine:
        wanted = await seen(engine, *parts)
    async with running(**settings, **mode) as engine:
        answers = [await seen(engine, *parts) for _ in range(2)]
    assert alike(answers[0], wanted)
    assert alike(answers[1], wanted)


@needs_images
async def test_answers_to_images_can_be_constrained_streamed_and_several(tmp_path: Path) -> None:
    write_projector(tmp_path / "mmproj.gguf")
    async with running(mmproj=tmp_path / "mmproj.gguf", slots=4) as engine:
        schema = {"type": "object", "properties": {"cat": {"type": "boolean"}}, "required": ["cat"]}
        form = {"type": "json_schema", "json_schema": {"name": "cat", "schema": schema}}
        answer = (await look(engine, CAT, "A cat?", response_format=form, max_tokens=40)).json()
        assert '"cat"' in answer["choices"][0]["message"]["content"]
        several = (await look(engine, CAT, "A cat?", n=3, temperature=1, seed=5)).json()
        assert len(several["choices"]) == 3
        streamed = await look(engine, CAT, "A cat?", stream=True)
        assert streamed.text.endswith("data: [DONE]\n\n")


@needs_images
async def test_damaged_and_too_large_images_are_refused_and_the_engine_goes_on(tmp_path: Path) -> None:
    rows = write_projector(tmp_path / "mmproj.gguf", side=128)
    async with running(mmproj=tmp_path / "mmproj.gguf", slots=2, ctx=512, threads=1) as engine:
        damaged = await look(engine, CAT[:-40] + bytes(40), "A cat?")
        assert (damaged.status_code, damaged.json()["error"]["param"]) == (400, "messages")
        assert "damaged" in damaged.json()["error"]["message"]
        full = await look(engine, CAT, DOG, "A cat?")
        assert full.status_code == 400
        assert full.json()["error"]["code"] == "context_length_exceeded"
        assert rows == 256
        assert (await engine.chat()).status_code == 200
        assert await engine.metric("seatrial_decode_restarts_total") == 0


@needs_images
async def test_a_projector_for_another_model_is_a_start_error(tmp_path: Path) -> None:
    write_projector(tmp_path / "mmproj.gguf", n_embd=DEMO_WIDTH * 2)
    with pytest.raises(StartError, match="is it made for this model"):
        async with running(mmproj=tmp_path / "mmproj.gguf"):
            pass


@pytest.mark.skipif(HAS_LIBMTMD, reason="libmtmd is there")
async def test_a_projector_without_libmtmd_is_a_start_error_with_the_remedy(tmp_path: Path) -> None:
    write_projector(tmp_path / "mmproj.gguf")
    with pytest.raises(StartError, match="SEATRIAL_IMAGES=1 make setup"):
        async with running(mmproj=tmp_path / "mmproj.gguf"):
            pass


async def test_without_a_projector_an_image_is_a_400_that_says_so() -> None:
    async with running(slots=2) as engine:
        response = await look(engine, "What is this?", CAT)
        assert response.status_code == 400
        assert "--mmproj" in response.json()["error"]["message"]
