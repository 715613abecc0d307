"""Tool calls out of a model's answer, however it is cut into pieces: the ways of Hermes and Qwen, Llama 3 and Mistral.

    Hermes    <tool_call>{"name": ..., "arguments": {...}}</tool_call>, once or more, among text
    Llama 3   {"name": ..., "parameters": {...}}, the whole answer; several are separated by ";"
    Mistral   [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...] or [TOOL_CALLS]name[ARGS]{...}

A call comes out when it is complete. What turns out to be none is text, as it was written.
"""

from __future__ import annotations

import re
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from engine.api.written import BLANK, Call, Value, decoded, is_object, skip_blanks

_HERMES = re.compile(r"""<tool_call>(?:\\n|[\s"'~+{}%-])*\{\\?"(?:name|arguments)""")
"""The tag and the JSON after it, in a template's own quotes or its text."""
_XML = re.compile(r"<function[ =]|<arg_key>|<parameter[ =]|<invoke[ =]")
"""Ways of Qwen3-Coder, GLM, MiniMax and others, some with the same tag around them."""


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A piece of the call with this index. The first piece has id and name, the others continue `arguments` (JSON)."""

    index: int
    id: str
    name: str | None
    arguments: str

    def call(self) -> dict[str, Any]:
        """OpenAI's tool call."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    def delta(self) -> dict[str, Any]:
        """OpenAI's tool call in a chunk of a stream."""
        return {"index": self.index, **self.call()}


class ToolFormat(Enum):
    """How a model writes tool calls."""

    HERMES = "hermes"
    LLAMA3 = "llama3"
    MISTRAL = "mistral"
    MISTRAL_ARGS = "mistral-args"


def format_of(template: str) -> ToolFormat | None:
    """The format that a chat template teaches its model; None when it is none of those known here."""
    if "[TOOL_CALLS]" in template:
        return ToolFormat.MISTRAL_ARGS if "[ARGS]" in template else ToolFormat.MISTRAL
    if _XML.search(template):
        return None
    if _HERMES.search(template):
        return ToolFormat.HERMES
    llama = "<|python_tag|>" in template or "<|start_header_id|>" in template
    return ToolFormat.LLAMA3 if llama and '"parameters"' in template else None


def parser_for(template: str) -> ToolCallParser | None:
    """A new parser for one answer of a model with this chat template; None when its calls cannot be told from text."""
    match format_of(template):
        case ToolFormat.HERMES:
            return _Hermes(long_id)
        case ToolFormat.LLAMA3:
            return _Llama3(long_id)
        case ToolFormat.MISTRAL | ToolFormat.MISTRAL_ARGS:
            return _Mistral(short_id)
    return None


def long_id() -> str:
    """An id as OpenAI makes them."""
    return f"call_{secrets.token_hex(12)}"


def short_id() -> str:
    """Nine letters and digits: Mistral's templates refuse any other id in a conversation's history."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


class ToolCallParser(ABC):
    """Takes an answer piece by piece. Whatever the pieces, the texts joined and the calls are the same."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._held = ""
        """What was not told yet, since it may be part of a call."""
        self._count = 0

    def push(self, text: str) -> list[str | ToolCallPart]:
        """Take the next piece; return the text and the calls that are certain now."""
        self._held += text
        return _joined(self._read(final=False))

    def end(self) -> list[str | ToolCallPart]:
        """The answer is complete; return what was held back."""
        return _joined(self._read(final=True))

    def whole(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """The text and the tool calls (OpenAI's) of a whole answer."""
        parts = self.push(text) + self.end()
        content = "".join(part for part in parts if isinstance(part, str))
        return content, [part.call() for part in parts if isinstance(part, ToolCallPart)]

    @abstractmethod
    def _read(self, *, final: bool) -> list[str | ToolCallPart]:
        """Everything that is certain, taken out of what is held."""

    def _parts(self, calls: list[Call]) -> list[str | ToolCallPart]:
        first = self._count
        self._count += len(calls)
        return [ToolCallPart(first + at, self._new_id(), *call) for at, call in enumerate(calls)]

    def _take(self, end: int) -> str:
        taken, self._held = self._held[:end], self._held[end:]
        return taken


class _Tagged(ToolCallParser):
    """Calls that begin with a tag, among text. Blanks between them, and before the first one, are no text."""

    tag: str
    closing = ""
    """What may follow a call and belongs to it."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        super().__init__(new_id)
        self._step = self._read_blank
        self._closed = True
        self._before = ""
        """Blanks before the tag that begins the held text: text after all when no call follows."""
        self._value: Value | None = None

    @abstractmethod
    def _find_value(self) -> int:
        """Where in the held text, which begins with the tag, the JSON value starts; -1: nowhere; 0: not told yet."""

    @abstractmethod
    def _calls(self, text: str) -> list[Call]:
        """The calls that a tag and a complete value are; none when they are wrong."""

    def _read(self, *, final: bool) -> list[str | ToolCallPart]:
        out: list[str | ToolCallPart] = []
        while self._held and self._step(out, final):
            pass
        return out

    def _read_blank(self, out: list[str | ToolCallPart], final: bool) -> bool:
        """At the start or after a call. False: wait for more."""
        rest = self._held.lstrip(BLANK)
        if not self._closed and rest.startswith(self.closing):
            self._held, self._closed = rest[len(self.closing) :], True
        elif rest.startswith(self.tag):
            self._before, self._held, self._step = self._take(len(self._held) - len(rest)), rest, self._read_call
        elif not final and (_begins(rest, self.tag) or (not self._closed and _begins(rest, self.closing))):
            return False
        elif not rest and self._count:
            self._held = ""
        else:
            self._step = self._read_text
        return True

    def _read_text(self, out: list[str | ToolCallPart], final: bool) -> bool:
        at = self._held.find(self.tag)
        if at >= 0:
            self._before, self._step = "", self._read_call
        else:
            at = len(self._held) - (0 if final else _overlap(self._held, self.tag))
        out.append(self._take(at))
        return self._step == self._read_call

    def _read_call(self, out: list[str | ToolCallPart], final: bool) -> bool:
        if self._value is None:
            start = self._find_value()
            if start > 0:
                self._value = Value(start)
        else:
            start = 0
        end = self._value.end(self._held) if self._value else len(self.tag) if start < 0 else None
        if end is None:
            # A value without an end: what looks like calls inside of it is part of it.
            if final:
                out.append(self._before + self._take(len(self._held)))
            return False
        calls = self._calls(self._held[:end]) if self._value else []
        taken = self._take(end)
        self._value = None
        if calls:
            out += self._parts(calls)
            self._step, self._closed = self._read_blank, not self.closing
        else:
            out.append(self._before + taken)
            self._step = self._read_text
        return True


class _Hermes(_Tagged):
    tag = "<tool_call>"
    closing = "</tool_call>"

    def _find_value(self) -> int:
        at = skip_blanks(self._held, len(self.tag))
        return 0 if at == len(self._held) else at if self._held[at] == "{" else -1

    def _calls(self, text: str) -> list[Call]:
        return decoded(text[len(self.tag) :])


class _Mistral(_Tagged):
    tag = "[TOOL_CALLS]"
    _NAMED = re.compile(r"\s*([\w.:/-]{1,128})(?:\[CALL_ID\][\w-]{0,64})?(?:\[ARGS\])?\s*(?=\{)")
    _MAY_BE_NAMED = re.compile(r"\s*[\w.:/-]{0,128}(?:\[[A-Z_]{0,7}\]?[\w-]{0,64}){0,2}\s*")

    def _find_value(self) -> int:
        at = skip_blanks(self._held, len(self.tag))
        if at == len(self._held):
            return 0
        if self._held[at] == "[":
            return at
        if named := self._NAMED.match(self._held, at):
            return named.end()
        return 0 if self._MAY_BE_NAMED.fullmatch(self._held, at) else -1

    def _calls(self, text: str) -> list[Call]:
        body = text[len(self.tag) :]
        if named := self._NAMED.match(body):
            arguments = body[named.end() :]
            return [(named.group(1), arguments)] if is_object(arguments) else []
        return decoded(body)


class _Llama3(ToolCallParser):
    """The whole answer is calls or text. So nothing is told before the end, unless the start looks like text."""

    _TAG = "<|python_tag|>"
    _KEYS = ('"name"', '"parameters"', '"type"', '"function"', '"arguments"', '"id"')

    def __init__(self, new_id: Callable[[], str]) -> None:
        super().__init__(new_id)
        self._calls_only: bool | None = None

    def _read(self, *, final: bool) -> list[str | ToolCallPart]:
        if self._calls_only is None:
            self._calls_only = self._looks_like_calls()
        if self._calls_only is not False and not final:
            return []
        held = self._take(len(self._held))
        calls = self._all_calls(held) if self._calls_only else []
        return self._parts(calls) if calls else [held]

    def _looks_like_calls(self) -> bool | None:
        """Whether the held start of the answer is that of a call; None: not told yet."""
        body = self._held.lstrip(BLANK)
        if _begins(body, self._TAG):
            return None
        body = body.removeprefix(self._TAG).lstrip(BLANK)
        key = body[1:].lstrip(BLANK)
        if body and not body.startswith("{"):
            return False
        if any(key.startswith(name) for name in self._KEYS):
            return True
        return None if any(name.startswith(key) for name in self._KEYS) else False

    def _all_calls(self, text: str) -> list[Call]:
        body = text.strip(BLANK).removeprefix(self._TAG)
        calls: list[Call] = []
        at = 0
        while (at := skip_blanks(body, at, BLANK + ";" if calls else BLANK)) < len(body):
            end = Value(at).end(body) if body[at] == "{" else None
            found = decoded(body[at:end], needs_arguments=True) if end else []
            if end is None or not found:
                return []
            calls += found
            at = end
        return calls


def _joined(parts: list[str | ToolCallPart]) -> list[str | ToolCallPart]:
    """Neighbouring texts as one, empty ones left out."""
    out: list[str | ToolCallPart] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        elif part:
            out.append(part)
    return out


def _begins(text: str, whole: str) -> bool:
    return len(text) < len(whole) and whole.startswith(text)


def _overlap(text: str, tag: str) -> int:
    """The length of the longest end of `text` that is a beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:n])), 0)
