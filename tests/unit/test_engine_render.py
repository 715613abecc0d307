"""Chat templates: what clients send never becomes scaffold, templates work on it as on text, and none can hold up."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.marks import Mark, MarkError, Marks
from engine.api.messages import Function, FunctionCall, Message, Part, Tool, ToolCall
from engine.api.render import Renderer
from engine.api.template import SIZE_LIMIT
from engine.errors import BadRequest
from engine.wire import Segment

WITH_TOOLS = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content | trim }}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, "id": {{ call.id | tojson }}}
</tool_call>{% endfor %}
{%- if message.tool_call_id %} for {{ message.tool_call_id }}{% endif %}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
HOSTILE = [
    "<|im_end|>",
    '"',
    "\\",
    "}}",
    "{{ 1 / 0 }}",
    "\x02",
    "\x03",
    "\n",
    "</tool_call>",
    "'",
    "\x00",
    "é\u2028",
    "{%",
]
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=3), min_size=1, max_size=4).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def rendered(template: str, *messages: Message, tools: list[Tool] | None = None) -> str:
    return text_of(Renderer(template).render(messages or [Message("user", "hello")], tools))


def conversation(name: str, arguments: str, id: str, content: str) -> list[Message]:
    called = Message("assistant", content, tool_calls=[ToolCall(FunctionCall(name, arguments), id)])
    return [Message("user", content), called, Message("tool", content, tool_call_id=id, name=name)]


RENDERER = Renderer(WITH_TOOLS)
PLAIN = RENDERER.render(conversation("n", '{"a": 1}', "i", "c"), [Tool(Function("n"))])
SCAFFOLD = [segment.text for segment in PLAIN if segment.scaffold]


@settings(deadline=None)
@given(hostile, hostile, hostile, st.dictionaries(hostile, json_values, max_size=3))
def test_whatever_a_client_sends_the_scaffold_is_the_same(
    name: str, id: str, content: str, values: dict[str, Any]
) -> None:
    content = f"c{content}c"  # a content of blanks alone would rightly be left out
    messages = conversation(name, json.dumps(values), id, content)
    segments = RENDERER.render(messages, [Tool(Function(name, content, values))])
    assert [segment.text for segment in segments if segment.scaffold] == SCAFFOLD
    shown = text_of(segments)
    parameters = values or {"type": "object", "properties": {}}
    function = {"name": name, "description": content, "parameters": parameters}
    assert json.dumps({"type": "function", "function": function}, ensure_ascii=False) in shown
    assert f'"arguments": {json.dumps(values, ensure_ascii=False)}, "id": {json.dumps(id, ensure_ascii=False)}' in shown
    assert shown.count(content) >= 3


def test_arguments_that_are_no_json_are_given_to_the_template_as_text() -> None:
    messages = conversation("f", "<|im_end|> not json", "i", "c")
    assert '"arguments": "<|im_end|> not json"' in text_of(RENDERER.render(messages))
    quoted = conversation("f", "[1]", "i", "c")
    assert '"arguments": "[1]"' in text_of(RENDERER.render(quoted))


def test_arguments_stand_as_their_text_where_a_template_joins_or_prints_them() -> None:
    call = conversation("f", '{"b": 1,  "a": 2}', "i", "c")
    for form in ("{{ 'x' + a + 'x' }}", "x{{ a }}x", "{{ 'x' ~ a ~ 'x' }}"):
        template = "{% for m in messages %}{% for c in m.tool_calls or [] %}{% set a = c.function.arguments %}"
        assert rendered(template + form + "{% endfor %}{% endfor %}", *call) == 'x{"b": 1,  "a": 2}x'
    items = "{% for m in messages %}{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments.items() %}"
    assert rendered(items + "{{ k }}={{ v }};{% endfor %}{% endfor %}{% endfor %}", *call) == "b=1;a=2;"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("c | trim", "<think>a</think> Hi"),
        ("c.strip()", "<think>a</think> Hi"),
        ("c.split('</think>')[-1].lstrip()", "Hi  "),
        ("(c.split('</think>')[1:] | join('')).strip()", "Hi"),
        ("'yes' if '</think>' in c and c.strip().startswith('<think>') else 'no'", "yes"),
        ("c | length", "23"),
        ("c | upper", "  <THINK>A</THINK> HI  "),
        ("c[2:9]", "<think>"),
        ("c | replace('Hi', 'Ho')", "  <think>a</think> Ho  "),
        ("[c] | upper", "['  <THINK>A</THINK> HI  ']"),
        ("echo(c) | trim", "<think>a</think> Hi"),
        ("c | tojson", '"  <think>a</think> Hi  "'),
        ("c | list | length", "23"),
        ("'yes' if c == '  <think>a</think> Hi  ' else 'no'", "yes"),
        ("('' ~ c) | trim", "<think>a</think> Hi"),
        ("{'key': c}", "{'key': '  <think>a</think> Hi  '}"),
    ],
)
def test_a_template_works_on_a_content_as_on_any_text(expression: str, expected: str) -> None:
    template = "{% macro echo(x) %}{{ x }}{% endmacro %}{% set c = messages[0].content %}{{ " + expression + " }}"
    assert rendered(template, Message("user", "  <think>a</think> Hi  ")) == expected


def test_what_is_made_of_a_content_is_no_scaffold_either() -> None:
    template = "{{ messages[0].content | upper }}<|end|>{{ messages[0].content | tojson }}"
    segments = Renderer(template).render([Message("user", "<|end|>")])
    assert [(segment.text, segment.scaffold) for segment in segments] == [
        ("<|END|>", False),
        ("<|end|>", True),
        ('"<|end|>"', False),
    ]


def test_schemas_can_be_walked_through_by_a_template() -> None:
    template = (
        "{% for tool in tools or [] %}{% set p = tool.function.parameters %}"
        "{% for name, value in p.properties.items() %}{{ name }}: "
        "{% if value.type == 'string' %}text{% elif 'null' in value.type %}maybe{% endif %}"
        "{{ ' (needed)' if name in p.required }};{% endfor %}{{ tool.function.name }}{% endfor %}"
    )
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": ["integer", "null"]}}, "required": ["a"]}
    assert rendered(template, tools=[Tool(Function("f", parameters=schema))]) == "a: text (needed);b: maybe;f"


def test_whether_a_template_takes_tools_is_found_by_rendering() -> None:
    assert RENDERER.takes_tools
    assert RENDERER.takes_calls
    mentions_only = Renderer("{# tools #}{% if tools %}{{ messages[0].content }}{% endif %}{{ 'tools' }}")
    assert not mentions_only.takes_tools
    for renderer in (Renderer(""), mentions_only):
        assert not renderer.takes_calls
        with pytest.raises(BadRequest, match="takes no tools") as caught:
            renderer.render([Message("user", "x")], [Tool(Function("f"))])
        assert caught.value.param == "tools"
        with pytest.raises(BadRequest, match="no tool calls"):
            renderer.render(conversation("f", "{}", "i", "c"))


def test_a_call_without_content_has_null_or_an_empty_text_as_the_template_can_bear() -> None:
    shows = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}"
    call = Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f", '{"a": 1}'))])
    bears_null = "{{ 'none' if m.content is none else 'some' }}{% endfor %}"
    assert rendered(shows + bears_null, call) == '{"a": 1}none'
    needs_text = "{{ m.content | trim }}.{% endfor %}"
    assert rendered(shows + needs_text, call) == '{"a": 1}.'


def test_parts_are_joined_and_an_empty_content_is_empty() -> None:
    template = "{% for m in messages %}{{ '[' ~ m.content ~ ']' if m.content else 'nothing' }}{% endfor %}"
    parts = Message("user", [Part("text", "a"), Part("text", "<|b|>")])
    assert rendered(template, parts, Message("assistant", "")) == "[a<|b|>]nothing"


def test_a_deep_schema_is_the_requests_fault() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"a": deep}
    with pytest.raises(BadRequest, match="deep"):
        RENDERER.render([Message("user", "x")], [Tool(Function("f", parameters=deep))])


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for i in range(99999) if false %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n - 1) if n }}{{ f(n - 1) if n }}{% endmacro %}{{ f(60) }}",
        "{% set n = namespace(x='ab') %}{% for i in range(90) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(90) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set l = [1] %}{% for i in range(90) %}{% set _ = l.extend(l) %}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ 2 ** (10 ** 9) }}",
        "{{ 'a' | center(10 ** 10) }}",
        "{{ '%99999999999d' | format(1) }}",
        "{{ '%99999999999d' % 1 }}",
        "{{ '{:99999999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=99999999999) }}",
        "{{ 'a'.ljust(10 ** 10) }}",
        "{{ 1.5 | round(10 ** 9) }}",
    ],
)
def test_a_template_that_needs_too_much_is_found_at_load_and_chatml_takes_its_place(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.api.template.CPU_LIMIT_S", 0.25)
    start = time.thread_time()
    renderer = Renderer(template)
    assert time.thread_time() - start < 2.0
    assert "needs too much" in renderer.problem
    assert rendered(template).startswith("<|im_start|>user\nhello")


def test_a_template_that_needs_too_much_for_some_messages_refuses_those() -> None:
    renderer = Renderer("{% for m in messages %}{{ m.content }}{{ 'ab' * 4000000 if m.content == 'go' }}{% endfor %}")
    assert renderer.problem == ""
    with pytest.raises(BadRequest, match="writes too much"):
        renderer.render([Message("user", "go"), Message("user", "go")])
    large = Message("user", "x" * (SIZE_LIMIT // 2 + 1))
    with pytest.raises(BadRequest, match="characters"):
        Renderer("{{ messages[0].content }}{{ messages[0].content }}").render([large])


def test_no_template_reaches_a_contents_text_behind_its_mark() -> None:
    for expression in ("c._text", "c['_text']", "c | attr('_text')", "c._marks", "c.__class__"):
        template = "{% set c = messages[0].content %}{{ " + expression + " }}"
        try:
            segments = Renderer(template).render([Message("user", "hello")])
        except BadRequest:
            continue
        assert "hello" not in text_of(segments)


def test_a_mark_that_was_torn_is_refused_and_not_shown() -> None:
    marks = Marks()
    mark = marks.put("hello")
    assert isinstance(mark, Mark)
    printed = str(mark)
    assert list(marks.cut(f"a{printed}b")) == [("a", True), ("hello", False), ("b", True)]
    for torn in (printed[1:], printed[:-1], printed[:12], printed[1:12].upper()):
        with pytest.raises(MarkError):
            list(marks.cut(torn))


def test_pieces_are_bounded_in_number_and_size() -> None:
    marks = Marks()
    mark = marks.put("x" * 1_000_000)
    with pytest.raises(MarkError, match="pieces"):
        _ = [mark.strip("y") for _ in range(1_000)]


def test_a_training_tag_is_rendered_as_what_it_holds() -> None:
    assert rendered("{% generation %}a{{ messages[0].content }}{% endgeneration %}b") == "ahellob"
