"""Tool calls out of an answer's text: three formats, any cutting of the stream, and nothing lost that is no call."""

from __future__ import annotations

import json
from itertools import pairwise

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.messages import Function, Tool
from engine.api.toolcalls import ToolCallParser, ToolCallPart, format_of, parser_for
from engine.api.toolchoice import constraint_for

HERMES = '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
LLAMA3 = '<|start_header_id|> {"name": function name, "parameters": ...}'
MISTRAL = "[TOOL_CALLS]"
MISTRAL_ARGS = "[TOOL_CALLS]name[ARGS]"
FORMATS = [HERMES, LLAMA3, MISTRAL, MISTRAL_ARGS]

PIECES = st.sampled_from(
    [
        "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "; ", "\n", " ",
        "words",
        '{"name": "f", "arguments": {"a": "}]</tool_call>\\""}}', '{"name": "g", "parameters": {}}', "f{}", "f",
        '[{"name": "f", "arguments": {}}, {"name": "g"}]', '{"a": 1}', "{", "}", '"', "\\", "[", "]", '{"name"',
        "é\u2028",
    ]
)  # fmt: skip
Calls = list[tuple[str | None, str]]


def parser(template: str) -> ToolCallParser:
    made = parser_for(template)
    assert made is not None
    return made


def in_pieces(template: str, pieces: list[str]) -> tuple[str, Calls]:
    made = parser(template)
    parts = [part for piece in pieces for part in made.push(piece)] + made.end()
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    return "".join(part for part in parts if isinstance(part, str)), [(call.name, call.arguments) for call in calls]


def whole(template: str, text: str) -> tuple[str, Calls]:
    content, calls = parser(template).whole(text)
    return content, [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.lists(PIECES, max_size=12), st.lists(st.integers(0, 300), max_size=12))
def test_any_cutting_of_an_answer_gives_the_same_text_and_calls(
    template: str, pieces: list[str], cuts: list[int]
) -> None:
    text = "".join(pieces)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    expected = whole(template, text)
    assert in_pieces(template, [text[a:b] for a, b in pairwise(places)]) == expected
    assert in_pieces(template, list(text)) == expected


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.lists(PIECES, max_size=12))
def test_an_answer_without_a_call_comes_out_as_it_was_written(template: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    content, calls = whole(template, text)
    assert calls or content == text
    assert all(isinstance(json.loads(arguments), dict) for _name, arguments in calls)
    assert content.count("words") <= text.count("words")


@settings(deadline=None)
@given(st.text())
def test_plain_text_is_streamed_and_unchanged(text: str) -> None:
    for template in FORMATS:
        assert in_pieces(template, list(text))[0] == text or "{" in text


def test_hermes_calls_stand_among_text_and_the_blanks_around_them_are_no_text() -> None:
    one = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
    assert whole(HERMES, f"\n\n{one}\n{one}\n") == ("", [("weather", '{"city": "Köln"}')] * 2)
    assert whole(HERMES, f"I look. {one}  Then:") == ("I look.   Then:", [("weather", '{"city": "Köln"}')])


def test_text_before_a_call_is_told_before_the_call_is_complete() -> None:
    made = parser(HERMES)
    assert made.push("I look <tool") == ["I look "]
    assert made.push('_call>{"name": "f", "arg') == []
    assert [type(part) for part in made.push('uments": {}}</tool_call>')] == [ToolCallPart]
    assert made.end() == []


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (HERMES, '<tool_call>{"name": "f", "arguments": {"a": </tool_call>'),
        (HERMES, '\n<tool_call>{"name": 5, "arguments": {}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        (HERMES, '<tool_call>{"name": "", "arguments": {}}</tool_call>'),
        (HERMES, "<tool_call>f()</tool_call> and so on"),
        (HERMES, '<tool_call>{"name": "f", "argu'),
        (LLAMA3, '{"name": "Bob", "age": 5}'),
        (LLAMA3, '{"name": "f", "parameters": {}} is how one calls it'),
        (LLAMA3, '<|python_tag|>print("hello")'),
        (LLAMA3, '{"name": "f", "parameters": {"a": "'),
        (MISTRAL, '[TOOL_CALLS] [{"name": "f", "arguments": {}}, {"name": 1}]'),
        (MISTRAL, "[TOOL_CALLS] so it is"),
        (MISTRAL_ARGS, "[TOOL_CALLS]f[ARGS]{broken}"),
    ],
)
def test_a_broken_call_is_text_as_it_was_written(template: str, text: str) -> None:
    assert whole(template, text) == (text, [])
    assert in_pieces(template, list(text)) == (text, [])


def test_a_closing_tag_inside_of_an_argument_does_not_end_the_call() -> None:
    arguments = '{"html": "</tool_call>}\\" ]"}'
    assert whole(HERMES, f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>') == (
        "",
        [("f", arguments)],
    )


def test_llama_calls_are_the_whole_answer_alone_or_several() -> None:
    one = '{"name": "f", "parameters": {"a": 1}}'
    assert whole(LLAMA3, one) == ("", [("f", '{"a": 1}')])
    assert whole(LLAMA3, f"<|python_tag|>{one}; {one}\n") == ("", [("f", '{"a": 1}')] * 2)
    typed = '{"type": "function", "name": "f", "parameters": {}}'
    assert whole(LLAMA3, typed) == ("", [("f", "{}")])


def test_an_answer_that_begins_like_text_is_not_held_back_for_llama() -> None:
    made = parser(LLAMA3)
    assert made.push("The") == ["The"]
    assert made.push(' {"name": "f", "parameters": {}}') == [' {"name": "f", "parameters": {}}']
    other = parser(LLAMA3)
    assert other.push('{"answer') == ['{"answer']


def test_both_ways_of_mistral_are_read() -> None:
    assert whole(MISTRAL, '[TOOL_CALLS] [{"name": "f", "arguments": {"a": [1]}}, {"name": "g", "arguments": {}}]') == (
        "",
        [("f", '{"a": [1]}'), ("g", "{}")],
    )
    for text in (
        '[TOOL_CALLS]f[ARGS]{"a": 1}',
        '[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{"a": 1}',
        '[TOOL_CALLS]f{"a": 1}',
    ):
        assert whole(MISTRAL_ARGS, text + "[TOOL_CALLS]g[ARGS]{}") == ("", [("f", '{"a": 1}'), ("g", "{}")])
    _content, calls = parser(MISTRAL).whole('[TOOL_CALLS] [{"name": "f", "arguments": {}}]')
    assert len(calls[0]["id"]) == 9  # its templates refuse any other length


def test_arguments_that_a_model_quoted_are_unquoted_and_missing_ones_are_none() -> None:
    assert whole(HERMES, '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>') == (
        "",
        [("f", '{"a": 1}')],
    )
    for written in ('{"name": "f"}', '{"name": "f", "arguments": null}'):
        assert whole(HERMES, f"<tool_call>{written}</tool_call>") == ("", [("f", "{}")])


def test_a_call_too_deep_to_be_read_is_text() -> None:
    deep = '<tool_call>{"name": "f", "arguments": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}</tool_call>"
    assert whole(HERMES, deep) == (deep, [])


def test_many_broken_calls_cost_no_more_than_their_length() -> None:
    text = "<tool_call>{" * 20_000
    made = parser(HERMES)
    for at in range(0, len(text), 40):
        made.push(text[at : at + 40])
    assert made.end() == [text]


def test_formats_that_are_not_known_have_no_parser() -> None:
    for template in (
        "",
        "{{ tools }}",
        "<tool_call><function=name>",
        "<tool_call>name<arg_key>",
        "<tool_call></tool_call>",
    ):
        assert format_of(template) is None
        assert parser_for(template) is None


SCHEMA = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
TOOLS = [Tool(Function("look_up", "Looks up.", SCHEMA)), Tool(Function("stop.it"))]


@pytest.mark.parametrize("template", FORMATS)
def test_the_language_of_a_required_call_is_one_that_the_parser_reads(template: str) -> None:
    constraint = constraint_for(template, TOOLS)
    assert constraint is not None
    assert constraint.kind == "lark"
    assert llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("lark", constraint.text)) == ""
    assert "stop.it" in constraint.text
    named = constraint_for(template, TOOLS, "look_up")
    assert named is not None
    assert "look_up" in named.text
    assert "stop.it" not in named.text


def test_a_template_of_unknown_format_cannot_be_made_to_call() -> None:
    assert constraint_for("{{ tools }}", TOOLS) is None
