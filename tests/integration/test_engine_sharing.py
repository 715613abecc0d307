"""Prompts that begin alike, keys, priorities, deadlines and LoRA adapters, with the real engine and the demo model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from engine_fixtures import Running, eventually, needs_model, running
from lora_file import write_adapter

from engine.config import DEMO_MODEL

pytestmark = needs_model
HOUSE_RULES = " ".join(f"Rule {number}: answer in one sentence and name the order." for number in range(1, 12))


def question(index: int, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": HOUSE_RULES},
        {"role": "user", "content": f"Where is parcel {index}?"},
    ]
    return {"messages": messages, "temperature": 0, "max_tokens": 12, "ignore_eos": True, **more}


async def ask(engine: Running, body: dict[str, Any], key: str = "") -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    reply = await engine.client.post("/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document


def text(document: dict[str, Any]) -> str:
    content: str = document["choices"][0]["message"]["content"]
    return content


def cached(document: dict[str, Any]) -> int:
    tokens: int = document["usage"]["prompt_tokens_details"]["cached_tokens"]
    return tokens


async def busy(engine: Running) -> bool:
    return await engine.metric("seatrial_requests_running") > 0


async def test_answers_are_the_same_with_and_without_shared_prompts_and_the_beginning_is_computed_once() -> None:
    bodies = [question(index, logprobs=True) for index in range(12)]
    async with running(slots=4, prefix_cache=False) as engine:
        apart = await asyncio.gather(*(ask(engine, body) for body in bodies))
    async with running(slots=4) as engine:
        shared = await asyncio.gather(*(ask(engine, body) for body in bodies))
        again = await asyncio.gather(*(ask(engine, body) for body in bodies))
    assert [answer["choices"] for answer in shared] == [answer["choices"] for answer in apart]
    assert [answer["choices"] for answer in again] == [answer["choices"] for answer in apart]
    assert [cached(answer) for answer in apart] == [0] * 12
    most = apart[0]["usage"]["prompt_tokens"] * 3 / 4
    assert sorted(cached(answer) > most for answer in shared) == [False] + [True] * 11
    assert all(cached(answer) > most for answer in again)


async def test_a_conversation_goes_on_from_where_its_last_turn_ended() -> None:
    async with running(slots=2) as engine:
        first = question(1)
        said = text(await ask(engine, first))
        more = [{"role": "assistant", "content": said}, {"role": "user", "content": "And the other one?"}]
        second = await ask(engine, {**first, "messages": [*first["messages"], *more]})
    assert cached(second) > len(HOUSE_RULES.split())


async def test_with_isolated_keys_a_prompt_of_one_key_is_no_help_to_another(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\nsecond\n")
    async with running(slots=2, api_key_file=keys, isolate_keys=True) as engine:
        await ask(engine, question(1), key="first")
        assert cached(await ask(engine, question(1), key="second")) == 0
        assert cached(await ask(engine, question(1), key="first")) > 100


async def test_a_background_request_gives_way_and_says_the_same_in_the_end() -> None:
    background, urgent = question(1, max_tokens=400, priority=9), question(2, max_tokens=4)
    async with running(slots=1) as engine:
        alone = text(await ask(engine, background))
    async with running(slots=1) as engine:
        order: list[str] = []

        async def noted(name: str, body: dict[str, Any]) -> str:
            answer = text(await ask(engine, body))
            order.append(name)
            return answer

        slow = asyncio.create_task(noted("background", background))
        await eventually(lambda: busy(engine), "a request runs")
        await noted("urgent", urgent)
        assert await slow == alone
        assert order == ["urgent", "background"]
        assert await engine.metric("seatrial_preemptions_total") == 1


async def test_an_answer_that_comes_too_late_ends_with_an_error_in_the_queue_and_in_a_stream() -> None:
    async with running(slots=1) as engine:
        long = asyncio.create_task(ask(engine, question(1, max_tokens=400)))
        await eventually(lambda: busy(engine), "a request runs")
        reply = await engine.client.post("/v1/chat/completions", json=question(2, timeout_s=0.02))
        assert (reply.status_code, reply.json()["error"]["code"]) in [(504, "deadline_exceeded"), (429, "queue_full")]
        await long
        body = question(3, max_tokens=600, timeout_s=0.1, stream=True)
        reply = await engine.client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200
        assert "deadline_exceeded" in reply.text.splitlines()[-2]
        assert text(await ask(engine, question(4)))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, Path], ...]:
    folder = tmp_path_factory.mktemp("lora")
    for name, strength in (("quiet", 0.0), ("loud", 0.5)):
        write_adapter(folder / f"{name}.gguf", DEMO_MODEL, strength)
    return tuple((name, folder / f"{name}.gguf") for name in ("quiet", "loud"))


async def test_a_lora_adapter_is_chosen_by_its_name_also_beside_others(adapters: tuple[tuple[str, Path], ...]) -> None:
    async with running(slots=4, lora=adapters) as engine:
        names = ["", "quiet", "loud"]
        bodies = [question(1, max_tokens=24, **({"model": name} if name else {})) for name in names]
        plain, quiet, loud = map(text, await asyncio.gather(*(ask(engine, body) for body in bodies)))
        assert plain == quiet != loud
        assert [text(await ask(engine, body)) for body in bodies] == [plain, quiet, loud]
        models = (await engine.client.get("/v1/models")).json()["data"]
        assert {model["id"] for model in models} == {"seatrial-demo", "quiet", "loud"}
        missing = await engine.client.post("/v1/chat/completions", json=question(1, model="absent"))
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
