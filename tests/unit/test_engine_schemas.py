"""What clients may send to the generation APIs: fields, their bounds, and what they mean to the decode process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.chat import ChatRequest, parse_chat
from engine.api.completion import CompletionRequest, parse_completion
from engine.api.job import Asker, Job, Served, cache_key, chat_job, completion_job
from engine.api.render import Renderer
from engine.api.sampling import constraint_of, sampling_of, seeds_of
from engine.api.schemas import Fields, header_of, unknown_fields
from engine.errors import BadRequest, ContextExceeded
from engine.wire import Constraint, ModelFacts, Sampling

ASK = {"messages": [{"role": "user", "content": "x"}]}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
HERMES = (
    '{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}<tool_call>{"name": ...}</tool_call>'
    "{% for message in messages %}{{ message.content }}{% endfor %}"
)


def facts(**changes: Any) -> ModelFacts:
    known = ModelFacts(
        description="",
        n_params=1,
        size_bytes=1,
        quantisation="",
        n_vocab=1000,
        ctx=128,
        ctx_train=128,
        slots=4,
        device="",
        gpu_layers=0,
        longest_token_bytes=8,
        chat_template="",
        bos="",
        eos="",
        build="",
    )
    return msgspec.structs.replace(known, **changes)


def served(**changes: Any) -> Served:
    return Served("base", facts(**changes), max_messages=8, most_answers=20)


def chat(**fields: Any) -> ChatRequest:
    return parse_chat(json.dumps({**ASK, **fields}).encode())


def completion(**fields: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"prompt": "x", **fields}).encode())


def job_of(request: ChatRequest | CompletionRequest, template: str = "", **changes: Any) -> Job:
    asker = Asker("", 0)
    if isinstance(request, ChatRequest):
        return chat_job(request, served(**changes), Renderer(template), asker)
    return completion_job(request, served(**changes), asker)


def sampling(**fields: Any) -> Sampling:
    return sampling_of(chat(**fields), -1, ctx=128, n_vocab=1000)


def refused(parse: Any, **fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    return caught.value


def tried(make: Callable[[], Job]) -> tuple[Job | None, str | None]:
    """The job, or the field that its refusal names."""
    try:
        return make(), None
    except BadRequest as error:
        return None, error.param


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_either_parsed_or_refused_as_a_bad_request(value: object) -> None:
    statuses: set[int] = set()
    for body in (value, {"messages": value}, {"messages": [value]}, {"prompt": value}, {**ASK, "tools": [value]}):
        for parse in (parse_chat, parse_completion):
            try:
                parse(msgspec.json.encode(body))
            except BadRequest as error:
                statuses.add(error.status)
    assert statuses <= {400}


_ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.lists(st.text() | st.integers())
    | st.dictionaries(st.text() | st.sampled_from(["1", "type", "schema", "json_schema"]), st.integers() | st.text())
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(set(ChatRequest.__struct_fields__) - {"messages"})), _ANYTHING)
def test_any_value_of_a_known_field_is_taken_or_refused_by_name(field: str, value: object) -> None:
    adapters = [value] if isinstance(value, str) else []
    job, blamed = tried(lambda: job_of(parse_chat(json.dumps({**ASK, field: value}).encode()), adapters=adapters))
    assert (blamed or field).startswith(field)
    for command in job.commands if job else ():
        assert 0 <= command.sampling.seed < 0xFFFFFFFF
        assert command.sampling.top_k >= 1
        assert 0 <= command.sampling.repeat_last_n <= 128


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(set(CompletionRequest.__struct_fields__))), _ANYTHING)
def test_any_value_of_a_completions_field_is_taken_or_refused_by_name(field: str, value: object) -> None:
    body = json.dumps({"prompt": "x", field: value}).encode()
    adapters = [value] if isinstance(value, str) else []
    job, blamed = tried(lambda: job_of(parse_completion(body), adapters=adapters))
    assert (blamed or field).startswith(field)
    assert job is None or job.commands


def test_sampling_fields_arrive_under_their_own_names_and_aliases() -> None:
    given_ = sampling(
        temperature=0.5,
        top_k=7,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.8,
        presence_penalty=1,
        frequency_penalty=-1,
        repetition_penalty=1.2,
        repeat_last_n=9,
        ignore_eos=True,
        min_tokens=3,
    )
    assert given_ == Sampling(
        temperature=0.5,
        top_k=7,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.8,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        repeat_penalty=1.2,
        repeat_last_n=9,
        ignore_eos=True,
        min_tokens=3,
    )
    assert sampling(repeat_penalty=1.3).repeat_penalty == 1.3
    assert refused(chat, repeat_penalty=1.3, repetition_penalty=1.3).param == "repetition_penalty"
    assert sampling(repeat_last_n=-1).repeat_last_n == 128
    assert sampling(repeat_last_n=2**31 - 1).repeat_last_n == 128
    assert sampling(top_k=0).top_k == sampling(top_k=-1).top_k == 1024


def test_logit_bias_takes_token_ids_of_the_model_and_minus_100_bans() -> None:
    assert sampling(logit_bias={"5": 2.5, "3": -100, "4": -99.5}).logit_bias == [(3, -math.inf), (4, -99.5), (5, 2.5)]
    for key in ("1000", "-1", "x", "", "1.0", "٣", "9" * 40, "1_0", " 1"):
        assert refused(sampling, logit_bias={key: 1}).param == "logit_bias", key
    for value in (101, -101, "1", None, [1]):
        assert refused(sampling, logit_bias={"1": value}).param == "logit_bias"
    assert refused(sampling, logit_bias={str(number): 1 for number in range(1025)}).param == "logit_bias"
    # Where a constraint may leave only banned tokens, they are the last resort.
    for fields in ({"grammar": 'root ::= "a"'}, {"ignore_eos": True}):
        (command,) = job_of(chat(logit_bias={"3": -100}, **fields)).commands
        assert command.sampling.logit_bias == [(3, -1e6)]
    with pytest.raises(BadRequest, match="every token"):
        sampling_of(chat(logit_bias={"0": -100, "1": -100}), -1, ctx=8, n_vocab=2)


def test_values_that_would_overflow_single_precision_are_refused_or_mean_the_likeliest_token() -> None:
    assert sampling(temperature=1e-38).temperature == 0
    assert sampling(temperature=1e-5).temperature == 1e-5
    assert job_of(chat(temperature=1e-9)).repeatable
    assert refused(chat, repeat_penalty=1e-30).param == "repeat_penalty"


def test_each_answer_has_a_seed_of_its_own_that_does_not_depend_on_the_other_prompts() -> None:
    assert seeds_of(7, prompts=1, n=3) == [7, 8, 9]
    assert seeds_of(7, prompts=2, n=2) == [7, 8, 7, 8]
    assert seeds_of(0xFFFFFFFE, prompts=1, n=2) == [0xFFFFFFFE, 0]
    assert seeds_of(-1, prompts=1, n=1) == [0xFFFFFFFE]
    assert len(set(seeds_of(None, prompts=2, n=8))) == 16


def test_response_format_and_grammar_become_constraints() -> None:
    schema = '{"type": "object", "properties": {"a": {"const": 1e2}}}'

    def constraint(format: str) -> Constraint | None:
        messages = json.dumps(ASK["messages"])
        return constraint_of(parse_chat(f'{{"messages":{messages},"response_format":{format}}}'.encode()))

    assert constraint('{"type":"text"}') is None
    assert constraint('{"type":"json_object"}') == Constraint("json")
    assert constraint(f'{{"type":"json_object","schema":{schema}}}') == Constraint("json_schema", schema)
    named = f'{{"type":"json_schema","json_schema":{{"name":"n","strict":true,"schema":{schema}}}}}'
    assert constraint(named) == Constraint("json_schema", schema)
    assert constraint_of(chat(grammar='root ::= "a"')) == Constraint("gbnf", 'root ::= "a"')


@pytest.mark.parametrize(
    "format",
    [
        "json_object",
        {},
        {"type": 1},
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": None},
        {"type": "json_schema", "json_schema": []},
        {"type": "json_schema", "json_schema": {}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": None}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": "{}"}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": True}},
        {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}},
        {"type": "json_object", "schema": 5},
    ],
)
def test_a_response_format_of_the_wrong_shape_is_refused_by_name(format: object) -> None:
    error = refused(lambda **fields: constraint_of(chat(**fields)), response_format=format)
    assert error.status == 400
    assert (error.param or "").startswith("response_format")


def test_fields_that_contradict_each_other_are_refused() -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("stream_options", {"stream_options": {"include_usage": True}}),
        ("stream_options", {"stream_options": {}, "stream": False}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("min_tokens", {"min_tokens": 5, "max_tokens": 4}),
        ("min_tokens", {"min_tokens": 5, "max_completion_tokens": 4, "max_tokens": 9}),
        ("grammar", {"grammar": "root ::= x", "response_format": {"type": "json_object"}}),
        ("grammar", {"grammar": "  "}),
        ("ignore_eos", {"ignore_eos": True, "response_format": {"type": "json_object"}}),
        ("min_tokens", {"min_tokens": 5, "grammar": 'root ::= "a"'}),
        ("functions", {"functions": [{"name": "f"}]}),
        ("function_call", {"function_call": "auto"}),
        ("audio", {"audio": {"voice": "x"}}),
        ("modalities", {"modalities": ["audio"]}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_completion_tokens", {"max_completion_tokens": 0}),
        ("n", {"n": 0}),
        ("n", {"n": 17}),
        ("priority", {"priority": 10}),
        ("timeout_s", {"timeout_s": 0}),
    ]
    for param, fields in rows:
        assert refused(lambda **given: job_of(chat(**given)), **fields).param == param, fields


def test_tools_need_a_template_that_takes_them_and_a_choice_among_them() -> None:
    error = refused(lambda **fields: job_of(chat(**fields)), tools=[TOOL])
    assert error.param == "tools"
    assert "template" in error.message
    named = {"type": "function", "function": {"name": "look_up"}}
    for choice in (None, "auto", "required", named):
        job = job_of(chat(tools=[TOOL], tool_choice=choice), HERMES)
        assert job.commands[0].show_control
        assert (job.commands[0].constraint is not None) == (choice in ("required", named))
    without = job_of(chat(tools=[TOOL], tool_choice="none"), HERMES)
    assert not without.commands[0].show_control
    for choice in ("maybe", "required", {"type": "function", "function": {"name": "other"}}):
        tools = [] if choice == "required" else [TOOL]
        assert refused(chat, tools=tools, tool_choice=choice).param == "tool_choice"
    assert refused(chat, tool_choice={"type": "function"}).param == "tool_choice.function"
    both = {"tools": [TOOL], "response_format": {"type": "json_object"}}
    assert refused(lambda **fields: job_of(chat(**fields), HERMES), **both).param == "response_format"


def test_an_image_is_refused_and_told_what_it_would_need() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode()
    error = refused(lambda: parse_chat(body, images=False))
    assert error.param == "messages[0].content[0].type"
    assert "projector" in error.message
    assert parse_chat(body, images=True).messages


def test_prompts_may_be_texts_or_token_ids_one_or_several() -> None:
    for given_, expected in (
        ("x", ["x"]),
        (["x"], ["x"]),
        (["x", "y"], ["x", "y"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        ([[1, 2], "x"], [[1, 2], "x"]),
    ):
        assert completion(prompt=given_).prompts == expected
    commands = job_of(completion(prompt=[[1, 2], "x"], n=2)).commands
    assert [command.segments[0].tokens for command in commands] == [[1, 2], [1, 2], [], []]
    for wrong in (None, 5, {}, "", [], [""], [[]], ["x", 5], [[1], [-1]], [True], [[False]], [1.5], ["x"] * 17, [None]):
        assert refused(completion, prompt=wrong).param == "prompt", wrong
    assert refused(lambda: job_of(completion(prompt=[5, 1000]))).param == "prompt"
    for long in ("x" * 2000, [1] * 128):
        with pytest.raises(ContextExceeded) as caught:
            job_of(completion(prompt=long))
        assert caught.value.param == "prompt"


def test_echo_needs_text_and_suffix_and_best_of_are_refused() -> None:
    assert completion(echo=True).echo
    for param, fields in (
        ("echo", {"echo": True, "prompt": [1]}),
        ("echo", {"echo": True, "logprobs": 1}),
        ("suffix", {"suffix": "y"}),
        ("best_of", {"best_of": 2}),
        ("min_tokens", {"min_tokens": 17}),
    ):
        assert refused(completion, **fields).param == param
    assert completion(best_of=2, n=2).n == 2


def test_more_answers_than_the_engine_has_places_for_are_refused_at_once() -> None:
    assert refused(lambda: job_of(completion(prompt=["x"] * 3, n=7))).param == "n"
    assert len(job_of(completion(prompt=["x"] * 2, n=10)).commands) == 20
    tight = Served("base", facts(), max_messages=8, most_answers=2)
    assert refused(lambda: completion_job(completion(prompt=["x"] * 3), tight, Asker("", 0))).param == "prompt"


def test_a_model_is_the_served_one_or_an_adapter_and_else_is_not_found() -> None:
    for model, adapter in ((None, ""), ("base", ""), ("tuned", "tuned")):
        assert job_of(chat(model=model), adapters=["tuned"]).commands[0].adapter == adapter
    error = refused(lambda: job_of(chat(model="gpt-9"), adapters=["tuned"]))
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "base, tuned" in error.message


def test_priority_and_deadline_are_handed_on() -> None:
    asker = Asker("key", 5_000_000_000)
    command = chat_job(chat(priority=9, timeout_s=1.5), served(), Renderer(""), asker).commands[0]
    assert (command.priority, command.deadline_ns, command.key) == (9, 6_500_000_000, "key")
    assert job_of(chat()).commands[0].deadline_ns == 0


def test_what_shapes_the_answer_and_nothing_else_makes_the_cache_key() -> None:
    def key(*, of: str = "a", isolated: bool = False, **fields: Any) -> bytes:
        job = chat_job(chat(temperature=0, **fields), served(adapters=["tuned"]), Renderer(""), Asker(of, 1))
        return cache_key(job.commands[0], isolated=isolated)

    assert key() == key(stream=True) == key(priority=3) == key(timeout_s=9) == key(n=2) == key(of="b") == key(seed=5)
    assert key(model="base") == key() == key(user="u", unknown=1)
    others: list[dict[str, Any]] = [
        {"max_tokens": 5},
        {"stop": "x"},
        {"logprobs": True},
        {"model": "tuned"},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": "y"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"top_k": 3},
    ]
    assert len({key(), *(key(**other) for other in others)}) == len(others) + 1
    assert key(isolated=True) == key(isolated=True) != key(isolated=True, of="b")


def test_only_requests_that_repeat_their_answer_are_repeatable() -> None:
    assert job_of(chat(temperature=0)).repeatable
    assert job_of(chat(seed=1)).repeatable
    assert not job_of(chat()).repeatable


def test_unknown_fields_are_named_and_cannot_break_the_header() -> None:
    body = json.dumps(
        {**ASK, "store": True, "user": "u", "metadata": {}, "functions": None, "x\r\ny: é,": 1, "z": None}
    )
    assert unknown_fields(body.encode(), ChatRequest) == ["store", "x\r\ny: é,"]
    assert header_of(["store", "x\r\ny: é,"]) == b"store, x??y:???"
    long = header_of(["n" * 100] * 100)
    assert len(long) <= 520
    assert long.endswith(b", ...")
    assert unknown_fields(b'{"messages":1,"a":1,"a":2}', Fields) == ["messages", "a"]
