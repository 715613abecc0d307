"""Chat messages and tools to prompt segments.

The template renders with unguessable marks in place of all that the client sent; the result is cut at the marks. So the
scaffold, which may hold control tokens, and the client's text, which must not, stay apart: a user's "<|im_end|>" stays
text, in a message as in a tool's name, description or arguments.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.api.marks import MarkError, Marks
from engine.api.messages import Function, FunctionCall, Message, Part, Tool, ToolCall, images_of
from engine.api.template import SIZE_LIMIT, Template, TemplateFault, TemplateRefusal
from engine.errors import BadRequest
from engine.wire import Segment

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PROBE, _VALUE = "seatrial_probe", "seatrial_value"
_ECHO = Message("user", _PROBE)
_ASKED = Message("user", "Look it up.")
_CALLED = Message("assistant", tool_calls=[ToolCall(FunctionCall(_PROBE, f'{{"key": "{_VALUE}"}}'), "abcdef123")])
_CALL = (_ASKED, _CALLED, Message("tool", "found", tool_call_id="abcdef123"))
_TOOL = Tool(Function(_PROBE, "Looks up.", {"type": "object", "properties": {"key": {"type": "string"}}}))


class Renderer:
    """A model's chat template, compiled once. Falls back to ChatML when the model has none or a broken one.

    problem: why ChatML is used in the place of the model's own template; empty when it is not.
    takes_tools: whether the template shows the model what tools there are.
    takes_calls: whether it shows the model which tools were called before.
    """

    def __init__(self, template: str, bos: str = "", eos: str = "") -> None:
        self.problem = ""
        self.source = template or CHATML
        self._bos, self._eos = bos, eos
        self._no_content: str | None = None
        self._in_parts = False
        """Whether the template takes contents as lists of parts only."""
        try:
            self._template = Template(self.source)
            with contextlib.suppress(TemplateRefusal):
                self._text([_ASKED], None, Marks())
        except TemplateFault as fault:
            self.problem = f"the model's chat template {fault}; ChatML is used"
            self.source = CHATML
            self._template = Template(CHATML)
        if _PROBE not in self._try((_ECHO,), None):
            self._in_parts = True
            self._in_parts = _PROBE in self._try((_ECHO,), None)
        self.takes_tools = "tools" in self._template.source_names and _PROBE in self._try((_ASKED,), (_TOOL,))
        self.takes_calls = self._shows_calls()

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[Segment]:
        """The prompt in order. Raises BadRequest when the template refuses the messages or has no place for tools."""
        if tools and not self.takes_tools:
            raise BadRequest(400, "The model's chat template takes no tools: leave them out.", param="tools")
        if not self.takes_calls and any(message.tool_calls for message in messages):
            raise BadRequest(400, "The model's chat template shows no tool calls: leave them out.", param="messages")
        return self._render(messages, tools)

    def _render(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> list[Segment]:
        marks = Marks()
        try:
            return _segments(self._text(messages, tools, marks), marks)
        except (TemplateFault, MarkError) as error:
            raise BadRequest(400, f"The model's chat template {error}.", param="messages") from error
        except RecursionError as error:
            raise BadRequest(400, "The tools are nested too deeply.", param="tools") from error

    def _text(self, messages: Sequence[Message], tools: Sequence[Tool] | None, marks: Marks) -> str:
        images = images_of(messages)
        values = {
            "messages": [
                _message_value(message, self._content(index, message, images, marks), marks, self._no_content)
                for index, message in enumerate(messages)
            ],
            "tools": [_tool_value(tool, marks) for tool in tools] if tools else None,
            "add_generation_prompt": True,
            "bos_token": self._bos,
            "eos_token": self._eos,
            "documents": None,
        }
        return self._template.render(values, marks)

    def _content(self, index: int, message: Message, images: Mapping[tuple[int, int], bytes], marks: Marks) -> Any:
        """A message's text, with what stands for its images in their places."""
        parts = message.content if isinstance(message.content, list) else [Part("text", message.content)]
        text = "".join(
            marks.put_image(images[index, number]) if (index, number) in images else part.text or ""
            for number, part in enumerate(parts)
        )
        if not text:
            return ""
        return [{"type": "text", "text": marks.put(text)}] if self._in_parts else marks.put(text)

    def _shows_calls(self) -> bool:
        """Also settle what a message that only calls has as its content: null for most templates, "" for those that
        fail on null, or print it."""
        shown = ""
        for self._no_content in (None, ""):
            shown = self._try(_CALL, (_TOOL,) if self.takes_tools else None)
            if _VALUE in shown and "None" not in shown:
                break
        return _VALUE in shown

    def _try(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> str:
        """What is rendered; nothing when the template refuses it."""
        try:
            return "".join(segment.text for segment in self._render(messages, tools))
        except BadRequest:
            return ""


class _Arguments(dict[str, Any]):
    """A call's arguments: an object to templates that go through it, their text to those that print or join it."""

    def __init__(self, values: dict[str, Any], text: str) -> None:
        super().__init__(values)
        self._text = text

    def __str__(self) -> str:
        return str(self._text)

    def __add__(self, other: str) -> str:
        return self._text + other

    def __radd__(self, other: str) -> str:
        return other + self._text


def _message_value(message: Message, content: Any, marks: Marks, no_content: str | None) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": content}
    if message.name:
        value["name"] = marks.put(message.name)
    if message.tool_call_id:
        value["tool_call_id"] = marks.put(message.tool_call_id)
    if message.tool_calls:
        value["content"] = content or no_content
        value["tool_calls"] = [_call_value(call, marks) for call in message.tool_calls]
    return value


def _call_value(call: ToolCall, marks: Marks) -> dict[str, Any]:
    function = {"name": marks.put(call.function.name), "arguments": _arguments(call.function.arguments, marks)}
    value: dict[str, Any] = {"type": "function", "function": function}
    return {"id": marks.put(call.id), **value} if call.id else value


def _arguments(text: str, marks: Marks) -> Any:
    try:
        values = msgspec.json.decode(text)
        if isinstance(values, dict):
            return _Arguments(marks.put_all(values), marks.put(text))
    except (msgspec.DecodeError, RecursionError):
        pass  # what the model wrote need not be JSON: the template gets it as it is
    return marks.put(text)


def _tool_value(tool: Tool, marks: Marks) -> dict[str, Any]:
    given = tool.function
    function: dict[str, Any] = {"name": marks.put(given.name), "description": marks.put(given.description or "")}
    function["parameters"] = marks.put_all(given.parameters or {"type": "object", "properties": {}})
    return {"type": "function", "function": function}


def _segments(text: str, marks: Marks) -> list[Segment]:
    size = 0
    segments: list[Segment] = []
    for scaffold, pieces in itertools.groupby(marks.cut(text), key=lambda piece: piece[1]):
        run = [piece for piece, _scaffold in pieces]
        size += sum(map(len, run))
        if size > SIZE_LIMIT:
            raise MarkError(f"makes a prompt of more than {SIZE_LIMIT} characters of these messages")
        pieces_of = ["".join(run)] if scaffold else marks.cut_images("".join(run))
        segments += [
            Segment(piece, scaffold) if isinstance(piece, str) else Segment("", scaffold, image=piece)
            for piece in pieces_of
        ]
    if sum(bool(segment.image) for segment in segments) < marks.images:
        raise MarkError("leaves out an image of the messages")
    return segments
