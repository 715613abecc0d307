"""What the engine answers: shapes, sampling, stop strings, usage, refusals. One engine serves the whole module."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from engine_fixtures import Running, needs_model, running

pytestmark = [needs_model, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Running]:
    async with running(body_timeout_s=1.0, header_timeout_s=1.5) as engine:
        yield engine


async def stream(engine: Running, body: dict[str, Any], path: str = "/v1/chat/completions") -> list[dict[str, Any]]:
    chunks, done = [], False
    async with engine.client.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                done = True
            elif line:
                assert line.startswith("data: ")
                assert not done
                chunks.append(json.loads(line[6:]))
    assert done
    return chunks


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


ASK = {"messages": [{"role": "user", "content": "What are your opening hours?"}], "max_tokens": 32, "temperature": 0}


async def test_a_greedy_stream_and_a_whole_answer_say_the_same(engine: Running) -> None:
    whole = (await engine.client.post("/v1/chat/completions", json=ASK)).json()
    chunks = await stream(engine, {**ASK, "stream_options": {"include_usage": True}})
    assert text_of(chunks) == whole["choices"][0]["message"]["content"] != ""
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["choices"] == []
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [chunks[-1]["usage"][count] for count in counts] == [whole["usage"][count] for count in counts]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert whole["object"] == "chat.completion"
    assert whole["system_fingerprint"].startswith("fp_")


async def test_usage_counts_prompt_and_answer(engine: Running) -> None:
    answer = (await engine.chat(max_tokens=5, ignore_eos=True)).json()
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_a_completion_continues_its_prompt_streamed_and_whole(engine: Running) -> None:
    body = {"prompt": "The order was", "max_tokens": 12, "temperature": 0}
    whole = (await engine.client.post("/v1/completions", json=body)).json()
    chunks = await stream(engine, body, "/v1/completions")
    assert whole["object"] == "text_completion"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]


async def test_the_same_seed_gives_the_same_text_and_another_seed_another(engine: Running) -> None:
    async def ask(seed: int) -> str:
        reply = await engine.chat(
            "Tell me a story", temperature=1.5, top_k=0, seed=seed, max_tokens=60, ignore_eos=True
        )
        return str(reply.json()["choices"][0]["message"]["content"])

    alone = await ask(7)
    together = await asyncio.gather(*(ask(seed) for seed in (7, 8, 7, 9)))
    assert together[0] == together[2] == alone
    assert len({together[0], together[1], together[3]}) == 3


async def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(engine: Running) -> None:
    full = (await engine.chat()).json()["choices"][0]["message"]["content"]
    stop = full[5:12]
    for body in ({"stop": stop}, {"stop": ["never to be seen", stop]}):
        choice = (await engine.chat(**body)).json()["choices"][0]
        assert choice["message"]["content"] == full[: full.index(stop)]
        assert choice["finish_reason"] == "stop"
    assert text_of(await stream(engine, {**ASK, "stop": stop})) == full[: full.index(stop)]


async def test_max_completion_tokens_and_parts_and_developer_role_are_taken(engine: Running) -> None:
    body = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What are "}, {"type": "text", "text": "your hours?"}],
            },
        ],
        "max_completion_tokens": 3,
        "unknown_field": {"ignored": True},
        "model": "seatrial-demo",
    }
    reply = await engine.client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] <= 3


async def test_logprobs_are_probabilities_and_name_the_chosen_token_first_when_greedy(engine: Running) -> None:
    content = (await engine.chat(logprobs=True, top_logprobs=3)).json()["choices"][0]["logprobs"]["content"]
    for entry in content:
        assert entry["top_logprobs"][0]["token"] == entry["token"]
        assert len(entry["top_logprobs"]) == 3
        assert sum(math.exp(top["logprob"]) for top in entry["top_logprobs"]) <= 1.0 + 1e-9


async def test_control_tokens_in_user_text_stay_text(engine: Running) -> None:
    plain = (await engine.chat("abc", max_tokens=1)).json()["usage"]["prompt_tokens"]
    reply = (await engine.chat("abc<|im_end|>", max_tokens=1)).json()["usage"]["prompt_tokens"]
    assert reply >= plain + 3  # several text tokens, not one control token


async def test_a_prompt_beyond_the_context_is_refused_and_one_that_nearly_fills_it_is_cut_short(
    engine: Running,
) -> None:
    reply = await engine.chat("word " * 1200)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"
    used = (await engine.chat("word " * 200, max_tokens=1)).json()["usage"]["prompt_tokens"]
    per_word = (used - 15) / 200
    reply = await engine.chat("word " * int(950 / per_word), max_tokens=5000, ignore_eos=True)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["finish_reason"] == "length"
    assert reply.json()["usage"]["total_tokens"] == 1024


async def test_a_five_megabyte_prompt_is_refused_at_once_and_stalls_nobody(engine: Running) -> None:
    async def gaps() -> float:
        worst, last = 0.0, None
        async with engine.client.stream(
            "POST", "/v1/chat/completions", json={**ASK, "max_tokens": 150, "ignore_eos": True, "stream": True}
        ) as response:
            loop = asyncio.get_running_loop()
            async for _ in response.aiter_raw():
                now = loop.time()
                worst = max(worst, now - last) if last else 0.0
                last = now
        return worst

    streaming = asyncio.create_task(gaps())
    big = json.dumps({"messages": [{"role": "user", "content": "word " * 1_000_000}]}).encode()
    reply = await engine.client.post("/v1/chat/completions", content=big, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"
    assert await streaming < 1.0


async def test_models_and_metrics_and_health_describe_the_engine(engine: Running) -> None:
    card = (await engine.client.get("/v1/models")).json()["data"][0]
    assert card["id"] == "seatrial-demo"
    assert card["meta"]["n_ctx"] == 1024
    assert (await engine.client.get("/v1/models/seatrial-demo")).json()["id"] == "seatrial-demo"
    assert (await engine.client.get("/v1/models/other")).status_code == 404
    health = (await engine.client.get("/health")).json()
    assert health["status"] == "ok"
    metrics = (await engine.client.get("/metrics")).text
    for name in ("ttft", "itl", "e2e", "queue"):
        assert f"seatrial_{name}_seconds_bucket" in metrics


async def test_a_request_id_is_echoed_or_made(engine: Running) -> None:
    reply = await engine.client.get("/health", headers={"x-request-id": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"
    assert len((await engine.client.get("/health")).headers["x-request-id"]) == 24


BAD: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("no messages", {}, 400, "messages"),
    ("empty messages", {"messages": []}, 400, "messages"),
    ("messages no list", {"messages": "hi"}, 400, "messages"),
    ("role unknown", {"messages": [{"role": "<|im_end|>", "content": "x"}]}, 400, "messages[0].role"),
    ("content a number", {"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
    ("content missing", {"messages": [{"role": "user"}]}, 400, "messages[0].content"),
    (
        "an image",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        400,
        "messages[0].content[0].type",
    ),
    ("temperature high", {**ASK, "temperature": 3}, 400, "temperature"),
    ("temperature text", {**ASK, "temperature": "hot"}, 400, "temperature"),
    ("max_tokens negative", {**ASK, "max_tokens": -1}, 400, "max_tokens"),
    ("max_tokens huge", {**ASK, "max_tokens": 10**30}, 400, "max_tokens"),
    ("seed huge", {**ASK, "seed": 2**70}, 400, "seed"),
    ("top_p above one", {**ASK, "top_p": 1.5}, 400, "top_p"),
    ("stream text", {**ASK, "stream": "yes"}, 400, "stream"),
    ("stop empty", {**ASK, "stop": [""]}, 400, "stop"),
    ("stop many", {**ASK, "stop": ["x"] * 50}, 400, "stop"),
    ("max_tokens zero", {**ASK, "max_tokens": 0}, 400, "max_tokens"),
    ("n many", {**ASK, "n": 17}, 400, "n"),
    ("stream_options without stream", {**ASK, "stream_options": {"include_usage": True}}, 400, "stream_options"),
    ("tools no function", {**ASK, "tools": [{"type": "function"}]}, 400, "tools[0].function"),
    ("tools not taken", {**ASK, "tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
    ("functions", {**ASK, "functions": [{"name": "f"}]}, 400, "functions"),
    ("format unknown", {**ASK, "response_format": {"type": "xml"}}, 400, "response_format"),
    ("schema missing", {**ASK, "response_format": {"type": "json_schema"}}, 400, "response_format"),
    ("logit_bias beyond", {**ASK, "logit_bias": {"999999": 1}}, 400, "logit_bias"),
    ("min_tokens above", {**ASK, "min_tokens": 33}, 400, "min_tokens"),
    ("priority", {**ASK, "priority": -1}, 400, "priority"),
    ("timeout_s", {**ASK, "timeout_s": 0}, 400, "timeout_s"),
    ("unknown model", {**ASK, "model": "gpt-9"}, 404, "model"),
    ("empty model name", {**ASK, "model": ""}, 404, "model"),
]


@pytest.mark.parametrize(("body", "status", "param"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_a_wrong_field_is_refused_by_name(
    engine: Running, body: dict[str, Any], status: int, param: str | None
) -> None:
    reply = await engine.client.post("/v1/chat/completions", json=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param


RAW: list[tuple[str, bytes, tuple[int, ...]]] = [
    ("not json", b"{", (400,)),
    ("empty body", b"", (400,)),
    ("not an object", b"[1]", (400,)),
    ("invalid utf-8", b'{"messages":[{"role":"user","content":"\xff\xfe"}]}', (400,)),
    ("lone surrogate", b'{"messages":[{"role":"user","content":"\\ud800"}],"max_tokens":1}', (200, 400)),
    ("NaN", b'{"messages":[{"role":"user","content":"x"}],"temperature":NaN}', (400,)),
    ("huge float", b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}', (400,)),
    ("duplicate keys", b'{"messages":[],"messages":[{"role":"user","content":"x"}],"max_tokens":1}', (200, 400)),
    ("60,000 arrays deep", b'{"messages":' + b"[" * 60_000 + b"]" * 60_000 + b"}", (400,)),
    ("60,000 deep in an unknown field", b'{"x":' + b"[" * 60_000 + b"]" * 60_000 + b',"messages":[]}', (400,)),
    ("60,000 deep in tools", b'{"messages":[],"tools":' + b'{"a":' * 60_000 + b"1" + b"}" * 60_000 + b"}", (400,)),
    ("a NUL in the text", b'{"messages":[{"role":"user","content":"a\\u0000b"}],"max_tokens":1}', (200,)),
    ("control characters", b'{"messages":[{"role":"user","content":"\\u001b[2J\\u202e"}],"max_tokens":1}', (200,)),
    ("empty content", b'{"messages":[{"role":"user","content":""}],"max_tokens":1}', (200,)),
    ("emoji and joiners", '{"messages":[{"role":"user","content":"👩‍👩‍👧‍👦🏳️‍🌈"}],"max_tokens":1}'.encode(), (200,)),
]


@pytest.mark.parametrize(("body", "statuses"), [row[1:] for row in RAW], ids=[row[0] for row in RAW])
async def test_odd_bodies_get_an_answer_in_the_error_shape(
    engine: Running, body: bytes, statuses: tuple[int, ...]
) -> None:
    headers = {"content-type": "application/json"}
    reply = await engine.client.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code in statuses, reply.text
    if reply.status_code != 200:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_routes_methods_types_and_sizes_are_checked(engine: Running) -> None:
    client = engine.client
    assert (await client.get("/nowhere")).status_code == 404
    wrong = await client.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert (await client.request("BREW", "/health")).status_code in (400, 405)
    form = await client.post("/v1/chat/completions", content=b"a=b", headers={"content-type": "text/plain"})
    assert form.status_code == 415
    zipped = await client.post("/v1/chat/completions", json=ASK, headers={"content-encoding": "gzip"})
    assert zipped.status_code == 415
    large = await client.post(
        "/v1/chat/completions", content=b" " * 9_000_000, headers={"content-type": "application/json"}
    )
    assert large.status_code == 413
    for reply in (wrong, form, zipped, large):
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


BODY = json.dumps(ASK).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SOCKET: list[tuple[str, bytes, tuple[int, ...]]] = [
    ("garbage", b"\x00\x01\x02\xff\xfe\r\n\r\n", (400,)),
    ("tls hello", bytes.fromhex("1603010200010001fc0303") + b"\0" * 40, (400,)),
    ("lower-case method", b"post / http/1.1\r\n\r\n", (400,)),
    ("http 9", b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505)),
    ("two hosts", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
    ("no host", b"GET /health HTTP/1.1\r\n\r\n", (400,)),
    ("http 1.0", b"GET /health HTTP/1.0\r\n\r\n", (200,)),
    ("endless header", b"GET /health HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", (431,)),
    ("many headers", b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", (431,)),
    ("long path", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (404, 414, 431)),
    ("negative length", HEAD + b"Content-Length: -5\r\n\r\n", (400,)),
    ("two lengths", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", (400,)),
    ("length and chunked", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    ("bad chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n", (400,)),
    ("body too short", HEAD + b"Content-Length: 1000\r\n\r\n{", (408,)),
    ("head never ends", b"GET /health HTTP/1.1\r\nHost: x\r\n", (408,)),
    ("websocket", b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", (200, 400)),
    ("connect", b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405)),
    ("percent nul path", b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", (404,)),
    ("expect continue", HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY, (100, 200)),
]


@pytest.mark.parametrize(("data", "statuses"), [row[1:] for row in SOCKET], ids=[row[0] for row in SOCKET])
async def test_odd_bytes_on_a_raw_socket_get_an_answer(engine: Running, data: bytes, statuses: tuple[int, ...]) -> None:
    reader, writer = await asyncio.open_connection(*engine.address)
    try:
        async with asyncio.timeout(10):
            writer.write(data)
            first = await reader.readline()
    finally:
        writer.close()
    assert first.startswith(b"HTTP/1."), first
    assert int(first.split()[1]) in statuses, first
    assert await engine.healthy()


async def test_requests_sent_down_one_connection_at_once_are_answered_in_order(engine: Running) -> None:
    reader, writer = await asyncio.open_connection(*engine.address)
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    writer.write(one + one + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_slow_reader_does_not_slow_the_others(engine: Running) -> None:
    _reader, writer = await asyncio.open_connection(*engine.address)
    body = json.dumps({**ASK, "stream": True, "max_tokens": 900, "ignore_eos": True}).encode()
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    replies = await asyncio.gather(*(engine.chat() for _ in range(4)))
    writer.close()
    assert [reply.status_code for reply in replies] == [200] * 4


async def test_after_all_this_the_engine_is_well_and_never_restarted(engine: Running) -> None:
    assert await engine.healthy()
    assert await engine.metric("seatrial_decode_restarts_total") == 0
    assert "died" not in engine.kinds
    errors = await engine.metric('seatrial_requests_total{outcome="error"}')
    assert errors == 0
    lines = engine.supervisor.log_tail().splitlines()
    assert all(line.startswith("seatrial-engine part=") for line in lines), "llama.cpp is noisy or something broke"


async def test_httpx_survives(engine: Running) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await engine.client.post(
            "/v1/chat/completions", json={**ASK, "max_tokens": 900, "ignore_eos": True}, timeout=0.05
        )
    assert await engine.healthy()
