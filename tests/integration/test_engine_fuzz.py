"""Fuzzed requests: whatever is sent, the engine answers or refuses it, and nobody else notices.

SEATRIAL_FUZZ_REQUESTS says how many; without it a few hundred.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest
from engine_fixtures import Running, eventually, needs_model, running
from fuzz_answers import Reply, check, visit
from fuzz_requests import constrained, crowding, full_prompts, mutated, raw, token_ids
from fuzz_shot import CHAT, COMPLETE, CONTROL, CTX, EMBED, Shot, hostile_texts, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine_tool_calls import TEMPLATE, with_template

REQUESTS = int(os.environ.get("SEATRIAL_FUZZ_REQUESTS", "400"))
LANES, PER_LANE = 5, 2
"""Connections at a time, one more than there are slots, and requests on each."""
BATCH = LANES * PER_LANE
GROWTH_BYTES, GROWTH_PER_REQUEST_BYTES = 32 << 20, 1024
"""How much memory a process may have taken at the end, beyond what it had after its first requests."""
TROUBLE = frozenset({"hung", "died", "restarting", "gave_up"})
"""Events of the supervisor that no request may cause. Short of a hang, a stall may be a busy machine's."""

pytestmark = [needs_model, pytest.mark.timeout(180 + REQUESTS // 4)]
PLAIN = Shot(
    written({"messages": [{"role": "user", "content": "Where is my order?"}], "max_tokens": 8, "temperature": 0})
)


def batches_of(share: float) -> settings:
    """As many examples as make this share of all requests."""
    return settings(
        max_examples=max(2, math.ceil(REQUESTS * share / BATCH)),
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def batches(*kinds: st.SearchStrategy[Shot]) -> st.SearchStrategy[list[Shot]]:
    return st.lists(st.one_of(*kinds), min_size=BATCH, max_size=BATCH)


class Trial:
    """A running engine that is shot at. It lives on a loop that runs only while something is asked of it."""

    def __init__(self, runner: asyncio.Runner, engine: Running) -> None:
        self.run, self.engine = runner.run, engine
        self.statuses: Counter[int] = Counter()
        self.pids = engine.supervisor.pids()
        self.started_s = time.monotonic()
        self.slowest_s = 0.0
        self.plain: Any = None
        """What a plain request is answered, whatever runs beside it."""
        for path, body in ((EMBED, {"input": "x"}), (CHAT, {**json.loads(PLAIN.body), "grammar": 'root ::= "a"'})):
            assert self.ask(path, body)
        self.plain = self._said(self.run(visit(engine.address, [PLAIN]))[0])
        self._scaffold: dict[str, list[int]] = {}
        self.control = {self.scaffold(name)[0] for name in CONTROL}
        assert len(self.control) == len(CONTROL)
        self.first_bytes = self.resident_bytes()
        self.first_files = self.open_files()

    def __str__(self) -> str:
        took_s = time.monotonic() - self.started_s
        counts = ", ".join(f"{count} x {status or 'left'}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.statuses.total()} requests in {took_s:.0f} s: {counts}; slowest {self.slowest_s:.1f} s; "
            + ", ".join(f"{part} {bytes >> 20:+} MiB" for part, bytes in self.growth_bytes().items())
        )

    def growth_bytes(self) -> dict[str, int]:
        """What each process has taken since its first requests."""
        return {part: bytes - self.first_bytes[part] for part, bytes in self.resident_bytes().items()}

    def resident_bytes(self) -> dict[str, int]:
        """Of the processes that are still there."""
        alive = {part: pid for part, pid in self.pids.items() if psutil.pid_exists(pid)}
        return {part: psutil.Process(pid).memory_info().rss for part, pid in alive.items()}

    def open_files(self) -> dict[str, int]:
        return {part: psutil.Process(pid).num_fds() for part, pid in self.pids.items()}

    def fire(self, shots: Sequence[Shot]) -> None:
        """Send them all, a plain request among them, and judge every answer."""
        self.run(self._fire(shots))

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that must get one."""
        shot = Shot(written(body), path, statuses=frozenset({200}))
        (reply,) = self.run(visit(self.engine.address, [shot]))
        self.statuses[reply.status] += 1
        check(shot, reply)
        answer: dict[str, Any] = json.loads(reply.body)
        return answer

    def ids(self, text: str) -> list[int]:
        """The tokens of a client's text."""
        tokens: list[int] = self.ask("/tokenize", {"content": text})["tokens"]
        return tokens

    def scaffold(self, text: str) -> list[int]:
        """The tokens of a text that a template wrote."""
        if text not in self._scaffold:
            self._scaffold[text] = self.ask("/tokenize", {"content": text, "parse_special": True})["tokens"]
        return self._scaffold[text]

    async def _fire(self, shots: Sequence[Shot]) -> None:
        before = len(self.engine.events)
        lanes = [*(shots[lane::LANES] for lane in range(LANES)), [PLAIN]]
        visits = [visit(self.engine.address, lane) for lane in lanes]
        answers = await asyncio.gather(*visits, return_exceptions=True)
        # Whatever happened: what is tried next must meet an engine that serves.
        await eventually(self.engine.healthy, "the engine is healthy")
        trouble = [event for event in self.engine.events[before:] if event.kind in TROUBLE]
        assert not trouble, f"the engine: {trouble} at one of {shots}"
        for lane, replies in zip(lanes, answers, strict=True):
            if isinstance(replies, BaseException):
                raise replies
            for shot, reply in zip(lane, replies, strict=True):
                self.statuses[reply.status] += shot is not PLAIN
                self.slowest_s = max(self.slowest_s, 0.0 if reply.status == 408 else reply.took_s)
                check(shot, reply)
        (reply,) = answers[-1]
        assert self._said(reply) == self.plain, f"a plain request was answered otherwise beside one of {shots}"

    def _said(self, reply: Reply) -> Any:
        return json.loads(reply.body)["choices"][0]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Trial]:
    model = with_template(tmp_path_factory.mktemp("model") / "with-tools.gguf", TEMPLATE)
    bounds = {"ctx": CTX, "slots": 4, "queue_limit": 4096, "body_limit_bytes": 1 << 20, "body_timeout_s": 3.0}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        engine = runner.run(
            stack.enter_async_context(running(model=model, gpu_layers=0, max_deaths=1000, **bounds)),
        )
        try:
            trial = Trial(runner, engine)
            yield trial
            told = str(trial)
        finally:
            runner.run(stack.aclose())
    if "SEATRIAL_FUZZ_REQUESTS" in os.environ:
        plugins = request.config.pluginmanager
        with plugins.getplugin("capturemanager").global_and_fixture_disabled():
            plugins.getplugin("terminalreporter").write_line(f"\n{told}")


@batches_of(0.33)
@given(shots=batches(mutated()))
def test_whatever_stands_in_a_body_is_answered_or_refused(trial: Trial, shots: list[Shot]) -> None:
    trial.fire(shots)


@batches_of(0.1)
@given(shots=batches(raw, raw, mutated()))
def test_what_is_hardly_a_request_is_refused_and_hurts_nobody(trial: Trial, shots: list[Shot]) -> None:
    trial.fire(shots)


@batches_of(0.15)
@given(shots=batches(constrained("broken")))
def test_an_invalid_schema_is_always_a_400(trial: Trial, shots: list[Shot]) -> None:
    trial.fire(shots)


@batches_of(0.15)
@given(shots=batches(constrained("odd"), constrained("gbnf"), mutated()))
def test_an_odd_schema_or_grammar_is_kept_to_or_refused(trial: Trial, shots: list[Shot]) -> None:
    trial.fire(shots)


@batches_of(0.05)
@given(shots=batches(crowding()))
def test_requests_that_share_prompts_make_room_or_leave_keep_to_their_own_answers(
    trial: Trial, shots: list[Shot]
) -> None:
    trial.fire(shots)


@batches_of(0.12)
@given(shots=batches(token_ids(), token_ids(), full_prompts()))
def test_a_token_id_is_taken_if_the_model_has_it_and_refused_if_not(trial: Trial, shots: list[Shot]) -> None:
    trial.fire(shots)


_texts = settings(batches_of(0.0125 * BATCH))


@_texts
@given(text=hostile_texts)
def test_a_text_in_a_prompt_becomes_no_control_token(trial: Trial, text: str) -> None:
    tokens = trial.ids(text)
    assert not trial.control & set(tokens)
    if not text:
        return
    assert trial.ask("/detokenize", {"tokens": tokens})["content"] == text
    if len(tokens) < CTX:
        for path, body in ((COMPLETE, {"prompt": text, "max_tokens": 1}), (EMBED, {"input": text})):
            assert trial.ask(path, body)["usage"]["prompt_tokens"] == len(tokens)


_turns = st.tuples(
    st.sampled_from(("system", "user", "assistant", "tool")), st.lists(hostile_texts, min_size=1, max_size=2)
)


@_texts
@given(turns=st.lists(_turns, min_size=1, max_size=3), stop=hostile_texts)
def test_a_prompt_is_the_templates_scaffold_and_the_plain_tokens_of_the_contents(
    trial: Trial, turns: list[tuple[str, list[str]]], stop: str
) -> None:
    messages = [
        {"role": role, "name": parts[0], "content": [{"type": "text", "text": part} for part in parts]}
        for role, parts in turns
    ]
    expected: list[int] = []
    for role, parts in turns:
        expected += trial.scaffold(f"<|im_start|>{role}\n")
        expected += trial.ids("".join(parts))
        expected += trial.scaffold("<|im_end|>\n")
    expected += trial.scaffold("<|im_start|>assistant")
    assert trial.ask("/tokenize", {"messages": messages})["tokens"] == expected
    if len(expected) < CTX:
        usage = trial.ask(CHAT, {"messages": messages, "max_tokens": 1, "stop": stop[:256] or None})["usage"]
        assert usage["prompt_tokens"] == len(expected)


@_texts
@given(text=hostile_texts)
def test_a_text_in_a_tool_or_its_call_becomes_no_control_token(trial: Trial, text: str) -> None:
    tokens = trial.ask("/tokenize", _with_tools(text))["tokens"]
    harmless = trial.ask("/tokenize", _with_tools("x"))["tokens"]
    control = [[token for token in of if token in trial.control] for of in (tokens, harmless)]
    assert control[0] == control[1]
    if len(tokens) < CTX:
        body = {**_with_tools(text), "max_tokens": 1, "tool_choice": "required"}
        assert trial.ask(CHAT, body)["usage"]["prompt_tokens"] == len(tokens)


def _with_tools(text: str) -> dict[str, Any]:
    """A conversation in which this text stands wherever one can."""
    parameters = {"type": "object", "properties": {text: {"enum": [text]}}, "description": text}
    call = {"id": text, "function": {"name": "f", "arguments": json.dumps({text: [text]})}}
    loose = {"function": {"name": "f", "arguments": text}}
    messages = [
        {"role": "assistant", "content": text, "tool_calls": [call, loose]},
        {"role": "tool", "content": text, "tool_call_id": text},
    ]
    function = {"name": "f", "description": text, "parameters": parameters}
    return {"messages": messages, "tools": [{"type": "function", "function": function}]}


def test_after_all_of_it_the_same_processes_are_idle_and_hold_no_more_than_before(trial: Trial) -> None:
    engine = trial.engine

    async def idle() -> bool:
        names = ("seatrial_requests_running", "seatrial_requests_waiting", "seatrial_kv_cells_used")
        return not any([await engine.metric(name) for name in names])

    async def alone() -> bool:
        return len(psutil.Process(trial.pids["decode"]).children(recursive=True)) == 1

    assert engine.supervisor.pids() == trial.pids
    trial.run(eventually(idle, "nothing runs or waits any more"))
    trial.run(eventually(alone, "no constraint is matched any more"))
    assert [event for event in engine.events if event.kind in TROUBLE] == []
    assert trial.run(engine.metric("seatrial_decode_restarts_total")) == 0
    assert trial.run(engine.metric('seatrial_requests_total{outcome="error"}')) == 0
    assert "event=bug" not in engine.supervisor.log_tail()
    for part, count in trial.open_files().items():
        assert count <= trial.first_files[part] + 4, f"the {part} process leaks files"
    for part, bytes in trial.growth_bytes().items():
        assert bytes <= GROWTH_BYTES + trial.statuses.total() * GROWTH_PER_REQUEST_BYTES, part
