"""From a request to its answer with a stand-in for the decode process: several answers in one, failures, metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from engine_stand_ins import Peer, facts, until
from msgspec.structs import replace as changed

from engine import wire
from engine.api.app import App
from engine.api.link import DecodeLink
from engine.api.metrics import Metrics
from engine.api.requestlog import Recorder, RequestRecord
from engine.config import EngineConfig
from engine.wire import Admitted, Cancel, Output, Submit, TokenLogprob

HERMES = (
    '{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}<tool_call>{"name": ...}</tool_call>'
    "{% for message in messages %}{{ message.content }}{% endfor %}"
)
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
ASK = {"messages": [{"role": "user", "content": "x"}], "temperature": 0}
MS = 1_000_000


class Exchange:
    """One request to the app, which runs on while a test plays the decode process."""

    def __init__(self, app: App, body: dict[str, Any], path: str, headers: dict[str, str]) -> None:
        self._body = json.dumps(body).encode()
        self._read = False
        self.leave = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": named}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self._body}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def done(self) -> Exchange:
        await asyncio.wait_for(self.task, 10)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The server-sent events; [DONE] as a string."""
        datas = [event.removeprefix("data: ") for event in self.body.decode().split("\n\n") if event]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]

    @property
    def choices(self) -> list[Any]:
        return [choice for event in self.events if "choices" in event for choice in event["choices"]]

    def text(self, index: int = 0) -> str:
        """The text of one choice of a streamed answer, so far."""
        mine = [choice for choice in self.choices if choice["index"] == index]
        return "".join(c["text"] if "text" in c else c["delta"].get("content") or "" for c in mine)


class Records:
    """A recorder that keeps what it is told."""

    wants_text = True

    def __init__(self) -> None:
        self.kept: list[RequestRecord] = []

    def record(self, record: RequestRecord) -> None:
        self.kept.append(record)


class Bench:
    """The app, its metrics and records, and the decode process's side."""

    def __init__(self, app: App, peer: Peer, metrics: Metrics, records: Records) -> None:
        self.app, self.peer, self.metrics, self.records = app, peer, metrics, records

    def ask(self, path: str = "/v1/chat/completions", key: str = "", **fields: Any) -> Exchange:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        base = ASK if path.endswith("chat/completions") else {"prompt": "x", "temperature": 0}
        return Exchange(self.app, {**base, **fields}, path, headers)

    def complete(self, **fields: Any) -> Exchange:
        return self.ask("/v1/completions", **fields)

    async def submits(self, count: int) -> list[Submit]:
        return [await self.peer.heard(Submit) for _ in range(count)]

    def admit(self, *submits: Submit, prompt_tokens: int = 5, cached_tokens: int = 0) -> None:
        self.peer.step(admitted=tuple(Admitted(submit.id, 1, prompt_tokens, cached_tokens) for submit in submits))

    async def answer(self, submit: Submit, text: str, tokens: int = 1, finish: str = "stop") -> None:
        self.admit(submit)
        self.peer.step(Output(submit.id, text, tokens, finish))

    def outcome(self, name: str) -> float:
        return self.metrics.requests.labels(name).value


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    return EngineConfig(model=model, slots=4, queue_limit=4)


@asynccontextmanager
async def bench(config: EngineConfig, keys: tuple[bytes, ...] = (), template: str = "") -> AsyncIterator[Bench]:
    peer, metrics, records = Peer(), Metrics(), Records()
    link = DecodeLink(config, peer.child, metrics, lambda kind, detail: None)
    loaded = changed(facts(), n_vocab=100, ctx=64, slots=4, longest_token_bytes=16, chat_template=template)
    peer.say(wire.Hello(loaded, peer.process.pid, 0.0))
    assert await link.start() == ""
    try:
        yield Bench(App(config, link, metrics, cast(Recorder, records), keys), peer, metrics, records)
    finally:
        peer.die()
        await link.close()


async def test_several_answers_share_one_stream_and_one_usage(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.ask(n=2, seed=7, temperature=1, stream=True, stream_options={"include_usage": True})
        first, second = await b.submits(2)
        assert (first.sampling.seed, second.sampling.seed) == (7, 8)
        b.admit(first, second, prompt_tokens=5, cached_tokens=3)
        b.peer.step(Output(first.id, "a", 1), Output(second.id, "X", 1))
        b.peer.step(Output(second.id, "Y", 1, "length"))
        b.peer.step(Output(first.id, "b", 1, "stop"))
        await ask.done()
        assert (ask.text(0), ask.text(1)) == ("ab", "XY")
        finishes = {c["index"]: c["finish_reason"] for c in ask.choices if c["finish_reason"]}
        assert finishes == {0: "stop", 1: "length"}
        assert [choice["delta"].get("role") for choice in ask.choices[:2]] == ["assistant"] * 2
        assert ask.events[-2]["usage"] == {
            "prompt_tokens": 5,
            "completion_tokens": 4,
            "total_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 3},
        }
        assert ask.events[-1] == "[DONE]"
        assert b.outcome("ok") == 1


async def test_several_prompts_are_answered_in_their_order_and_each_counts(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.complete(prompt=["p", [1, 2]], n=2)
        submits = await b.submits(4)
        assert [submit.segments[0].text for submit in submits] == ["p", "p", "", ""]
        for number, submit in reversed(list(enumerate(submits))):
            await b.answer(submit, f"text {number}", tokens=2)
        choices = (await ask.done()).json["choices"]
        assert [(choice["index"], choice["text"]) for choice in choices] == [(n, f"text {n}") for n in range(4)]
        assert ask.json["usage"]["prompt_tokens"] == 10
        assert ask.json["usage"]["completion_tokens"] == 8


async def test_when_one_answer_finds_no_place_none_stays(config: EngineConfig) -> None:
    async with bench(replace(config, slots=1, queue_limit=1)) as b:
        before = b.ask()
        (running,) = await b.submits(1)
        both = await b.ask(n=2).done()
        assert both.status == 429
        assert int(both.headers["retry-after"]) >= 1
        (taken,) = await b.submits(1)
        assert (await b.peer.heard(Cancel)).id == taken.id
        assert b.outcome("shed") == 1
        await b.answer(running, "fine")
        assert (await before.done()).status == 200


async def test_more_answers_than_places_are_no_overload_but_a_wrong_request(config: EngineConfig) -> None:
    async with bench(replace(config, slots=1, queue_limit=0)) as b:
        ask = await b.ask(n=2).done()
        assert (ask.status, ask.json["error"]["param"]) == (400, "n")


@pytest.mark.parametrize(("finish", "code"), [("error", "decode"), ("deadline", "deadline_exceeded")])
async def test_one_failed_answer_ends_the_stream_and_the_other_answers(
    config: EngineConfig, finish: str, code: str
) -> None:
    async with bench(config) as b:
        ask = b.ask(n=2, stream=True)
        first, second = await b.submits(2)
        b.admit(first, second)
        b.peer.step(Output(first.id, "a", 1), Output(second.id, "X", 1))
        await until(lambda: ask.text(0))
        b.peer.step(Output(second.id, "", 0, finish, error="it broke"))
        await ask.done()
        assert ask.text(0) == "a"
        assert ask.events[-1]["error"]["code"] == code
        assert "[DONE]" not in ask.events
        assert ask.sent[-1]["more_body"] is False
        assert (await b.peer.heard(Cancel)).id == first.id
        assert b.outcome(finish) == 1


async def test_one_failed_answer_fails_a_whole_response(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.ask(n=2)
        first, second = await b.submits(2)
        await b.answer(first, "fine")
        b.peer.step(Output(second.id, "", 0, "error", error="it broke"))
        assert (await ask.done()).status == 500
        assert "it broke" in ask.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_that_passes_before_the_first_byte_is_a_504(config: EngineConfig, stream: bool) -> None:
    async with bench(config) as b:
        ask = b.ask(timeout_s=2, stream=stream)
        (submit,) = await b.submits(1)
        assert submit.deadline_ns > 0
        b.peer.step(Output(submit.id, "", 0, "deadline"))
        assert (await ask.done()).status == 504
        assert ask.json["error"]["code"] == "deadline_exceeded"
        assert b.outcome("deadline") == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "error", "param", "code"),
    [
        ({"response_format": {"type": "json_object"}}, "no such type", "response_format", "invalid_value"),
        ({"grammar": "root ::="}, "no such rule", "grammar", "invalid_value"),
        ({}, "the prompt is empty", "messages", "invalid_value"),
        ({}, "", "messages", "context_length_exceeded"),
    ],
)
async def test_what_the_decode_process_refuses_is_a_400_that_names_the_field(
    config: EngineConfig, stream: bool, fields: dict[str, Any], error: str, param: str, code: str
) -> None:
    async with bench(config) as b:
        ask = b.ask(stream=stream, **fields)
        (submit,) = await b.submits(1)
        b.peer.step(Output(submit.id, "", 0, "refused", error=error, prompt_tokens=99))
        await ask.done()
        assert ask.status == 400
        assert (ask.json["error"]["param"], ask.json["error"]["code"]) == (param, code)
        assert b.outcome("refused") == 1


async def test_a_stream_starts_only_when_no_prompt_can_be_refused_any_more_or_a_token_is_there(
    config: EngineConfig,
) -> None:
    async with bench(config) as b:
        ask = b.complete(prompt=["p", "q"], stream=True)
        first, second = await b.submits(2)
        b.admit(first)
        b.peer.step(Output(second.id, "", 0, "refused", prompt_tokens=99))
        await ask.done()
        assert (ask.status, ask.json["error"]["param"]) == (400, "prompt")
        waiting = b.complete(prompt=["p", "q"], stream=True)
        await b.peer.heard(Cancel)
        third, fourth = await b.submits(2)
        b.admit(third)
        b.peer.step(Output(third.id, "a", 1))
        await until(lambda: len(waiting.sent) > 1)
        b.peer.step(Output(third.id, "", 0, "stop"))
        await b.answer(fourth, "b")
        assert (await waiting.done()).text(0) == "a"


async def test_a_client_that_leaves_frees_all_its_answers(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.ask(n=3, stream=True)
        submits = await b.submits(3)
        b.admit(*submits)
        b.peer.step(Output(submits[1].id, "a", 1))
        await until(lambda: len(ask.sent) > 1)
        ask.leave.set()
        await ask.done()
        cancelled = {(await b.peer.heard(Cancel)).id for _ in submits}
        assert cancelled == {submit.id for submit in submits}
        assert b.outcome("cancelled") == 1


async def test_gaps_are_those_of_the_tokens_and_ttft_ends_when_the_first_event_is_written(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.ask(n=2, stream=True)
        first, second = await b.submits(2)
        b.admit(first, second)
        start = 10**18
        b.peer.step(Output(first.id, "a", 1), t_ns=start)
        b.peer.step(Output(second.id, "X", 1), t_ns=start + 1 * MS)
        b.peer.step(Output(first.id, "b", 1), Output(second.id, "", 1, "stop"), t_ns=start + 7 * MS)
        b.peer.step(Output(first.id, "", 1, "stop"), t_ns=start + 10 * MS)
        await ask.done()
        assert b.metrics.itl.sum == pytest.approx((7 + 6 + 3) / 1000)
        assert sum(b.metrics.itl.counts) == 3
        assert sum(b.metrics.ttft.counts) == 1
        (record,) = b.records.kept
        assert record.received_ns < record.first_token_ns < time.monotonic_ns()
        assert b.metrics.ttft.sum == pytest.approx((record.first_token_ns - record.received_ns) / 1e9)
        assert b.metrics.e2e.sum == pytest.approx((start + 10 * MS - record.received_ns) / 1e9)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeated_request_is_answered_from_memory(config: EngineConfig, stream: bool) -> None:
    async with bench(replace(config, response_cache_bytes=1 << 20)) as b:
        first = b.ask(n=2, stream=not stream)
        one, two = await b.submits(2)
        await b.answer(one, "same", tokens=2)
        await b.answer(two, "same", tokens=2)
        await first.done()
        assert "x-seatrial-cache" not in first.headers
        again = await b.ask(stream=stream).done()
        assert again.headers["x-seatrial-cache"] == "hit"
        if stream:
            assert again.text() == "same"
            assert again.events[-1] == "[DONE]"
        else:
            assert again.json["choices"][0]["message"]["content"] == "same"
            assert again.json["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}
            assert again.json["usage"]["total_tokens"] == 7
        counts = {name: b.metrics.response_cache.labels(name).value for name in ("hit", "miss")}
        assert counts == {"hit": 1, "miss": 1}
        fresh = b.ask(temperature=1)
        (submit,) = await b.submits(1)
        await b.answer(submit, "other")
        assert "x-seatrial-cache" not in (await fresh.done()).headers
        assert not b.peer.commands


@pytest.mark.parametrize("isolated", [False, True])
async def test_answers_in_memory_are_shared_among_keys_unless_keys_are_isolated(
    config: EngineConfig, isolated: bool
) -> None:
    config = replace(config, response_cache_bytes=1 << 20, isolate_keys=isolated)
    async with bench(config, keys=(b"one", b"two")) as b:
        first = b.ask(key="one")
        (submit,) = await b.submits(1)
        await b.answer(submit, "mine")
        await first.done()
        second = b.ask(key="two")
        if isolated:
            (other,) = await b.submits(1)
            assert other.key != submit.key
            await b.answer(other, "theirs")
        assert ("x-seatrial-cache" in (await second.done()).headers) is not isolated
        assert (await b.ask(key="two").done()).headers["x-seatrial-cache"] == "hit"


async def test_an_answer_that_failed_is_not_remembered(config: EngineConfig) -> None:
    async with bench(replace(config, response_cache_bytes=1 << 20)) as b:
        for _ in range(2):
            ask = b.ask(stream=True)
            (submit,) = await b.submits(1)
            b.admit(submit)
            b.peer.step(Output(submit.id, "half an", 1))
            await until(ask.text)
            b.peer.step(Output(submit.id, "", 0, "error", error="it broke"))
            assert (await ask.done()).events[-1]["error"]["type"] == "server_error"


async def test_tool_calls_are_cut_out_of_the_text_streamed_and_whole(config: EngineConfig) -> None:
    pieces = ["Let me see.", "<tool_", 'call>{"name": "look_up", "argu', 'ments": {"a": 1}}</tool_call>']
    async with bench(config, template=HERMES) as b:
        streamed = b.ask(tools=[TOOL], stream=True)
        (submit,) = await b.submits(1)
        assert submit.show_control
        b.admit(submit)
        for piece in pieces:
            b.peer.step(Output(submit.id, piece, 1))
        b.peer.step(Output(submit.id, "", 1, "stop"))
        await streamed.done()
        whole = b.ask(tools=[TOOL])
        (submit,) = await b.submits(1)
        await b.answer(submit, "".join(pieces))
        await whole.done()
    assert streamed.text() == "Let me see."
    (delta,) = [c["delta"]["tool_calls"][0] for c in streamed.choices if "tool_calls" in c["delta"]]
    assert delta["index"] == 0
    assert delta["function"] == {"name": "look_up", "arguments": '{"a": 1}'}
    assert streamed.choices[-1]["finish_reason"] == "tool_calls"
    (choice,) = whole.json["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see."
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", delta["function"])
    assert call["id"].startswith("call_")


async def test_an_answer_of_calls_alone_has_no_content(config: EngineConfig) -> None:
    async with bench(config, template=HERMES) as b:
        ask = b.ask(tools=[TOOL], tool_choice="required")
        (submit,) = await b.submits(1)
        assert submit.constraint is not None
        await b.answer(submit, '<tool_call>{"name": "look_up", "arguments": {}}</tool_call>')
        assert (await ask.done()).json["choices"][0]["message"]["content"] is None


async def test_an_echo_is_the_prompt_and_then_the_answer(config: EngineConfig) -> None:
    async with bench(config) as b:
        for stream in (False, True):
            ask = b.complete(prompt=["one ", "two "], echo=True, stream=stream)
            for submit in await b.submits(2):
                await b.answer(submit, "more")
            await ask.done()
            texts = [ask.text(0), ask.text(1)] if stream else [choice["text"] for choice in ask.json["choices"]]
            assert texts == ["one more", "two more"]


async def test_text_offsets_count_characters_also_where_tokens_cut_them(config: EngineConfig) -> None:
    tokens = [b"caf", "é".encode()[:1], "é".encode()[1:], b" x", b""]
    logprobs = [TokenLogprob(token, -0.5, []) for token in tokens]
    async with bench(config) as b:
        for stream in (False, True):
            ask = b.complete(logprobs=0, stream=stream)
            (submit,) = await b.submits(1)
            b.admit(submit)
            b.peer.step(Output(submit.id, "caf", 1, logprobs=logprobs[:1]))
            b.peer.step(Output(submit.id, "", 1, logprobs=logprobs[1:2]))
            b.peer.step(Output(submit.id, "é x", 2, "stop", logprobs=logprobs[2:]))
            await ask.done()
            choices = ask.choices if stream else ask.json["choices"]
            shown = [choice["logprobs"] for choice in choices if choice["logprobs"]]
            assert [offset for one in shown for offset in one["text_offset"]] == [0, 3, 3, 4, 6]
            assert next(token for one in shown for token in one["tokens"]) == "caf"


async def test_keys_are_told_apart_by_a_hash_and_a_wrong_one_is_refused(config: EngineConfig) -> None:
    async with bench(config, keys=(b"one", b"two")) as b:
        hashes = set()
        for key in ("one", "two", "one"):
            ask = b.ask(key=key)
            (submit,) = await b.submits(1)
            await b.answer(submit, "fine")
            await ask.done()
            assert key not in submit.key
            hashes.add(submit.key)
        assert len(hashes) == 2
        assert [(await b.ask(key=key).done()).status for key in ("three", "")] == [401, 401]


async def test_ignored_fields_are_named_in_a_header(config: EngineConfig) -> None:
    async with bench(config) as b:
        for stream in (False, True):
            ask = b.ask(stream=stream, store=True, verbosity="low", user="me", functions=None)
            (submit,) = await b.submits(1)
            await b.answer(submit, "fine")
            assert (await ask.done()).headers["x-seatrial-ignored"] == "store, verbosity"
        plain = b.ask()
        (submit,) = await b.submits(1)
        await b.answer(submit, "fine")
        assert "x-seatrial-ignored" not in (await plain.done()).headers


async def test_every_request_is_recorded_once_with_what_came_of_it(config: EngineConfig) -> None:
    async with bench(config) as b:
        ask = b.ask(stream=True, seed=4, max_tokens=9)
        (submit,) = await b.submits(1)
        await b.answer(submit, "fine")
        await ask.done()
        await b.ask(temperature=9).done()
        gone = b.ask()
        await b.submits(1)
        gone.leave.set()
        await gone.done()
    done, refused, left = b.records.kept
    assert (done.outcome, done.status, done.finish_reasons, done.streamed) == ("ok", 200, ("stop",), True)
    assert (done.prompt_tokens, done.completion_tokens, done.answers) == (5, 1, ("fine",))
    assert done.prompt == (("user", "x"),)
    assert done.settings == {"temperature": 0, "seed": 4, "max_tokens": 9}
    assert done.response_id == ask.events[0]["id"]
    assert (refused.outcome, refused.status, refused.error) == ("refused", 400, "invalid_type")
    assert (left.outcome, left.status) == ("cancelled", 499)
