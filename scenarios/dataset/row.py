"""A row of a dataset, whatever its file calls the fields. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_CHAT_URL, _TEXT_URL = "chat/completions", "completions"
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_NOT_PARAMETERS = frozenset(
    {"messages", "prompt", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
)

PROMPTS = ("prompt", "question", "instruction", "input", "text")
ANSWERS = ("answer", "expected", "output", "completion", "response")


class FieldError(Exception):
    """A row has not the fields that it needs; `what` is wrong and how to `fix` it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what, self.fix = what, fix


class Message(NamedTuple):
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One request: a conversation in `messages`, which ends with what is to be answered, or else a bare `prompt`.

    `max_tokens`: how long its answer may be, if the row says so. `expected`: the answer that is right, from a column
    of that meaning; the reply that ends a recorded conversation is one of many and is left out. `parameters`: what
    else the body of a batch file's row sets, such as temperature.
    """

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    max_tokens: int | None = None
    expected: str | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Turn(msgspec.Struct):
    speaker: str = msgspec.field(name="from")
    value: str


class _Body(msgspec.Struct):
    messages: list[_Message] | None = None
    prompt: str | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None


class Fields(msgspec.Struct):
    """Every field that is known, of all shapes of rows; the others are passed over."""

    messages: list[_Message] | None = None
    conversations: list[_Turn] | None = None
    body: dict[str, Any] | None = None
    url: str = ""
    prompt: str | None = None
    question: str | None = None
    instruction: str | None = None
    input: str | None = None
    text: str | None = None
    answer: str | int | float | None = None
    expected: str | int | float | None = None
    output: str | int | float | None = None
    completion: str | int | float | None = None
    response: str | int | float | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    tags: str | list[str] | None = None
    category: str | None = None


def row_of(fields: Fields) -> DatasetRow | None:
    """The row; None for a recorded conversation in which nobody asks anything. Raises FieldError."""
    if fields.body is not None:
        return _of_batch(fields.body, fields.url)
    messages: tuple[Message, ...] = ()
    prompt = ""
    if fields.messages is not None:
        messages = _asked([_message(message, f"messages[{at}]") for at, message in enumerate(fields.messages)])
    elif fields.conversations is not None:
        messages = _asked([_turn(turn, f"conversations[{at}]") for at, turn in enumerate(fields.conversations)])
    else:
        prompt = _prompt(fields)
    if not messages and not prompt:
        return None
    answers = (getattr(fields, name) for name in ANSWERS)
    expected = next((str(answer) for answer in answers if answer is not None), None)
    tags = (fields.tags,) if isinstance(fields.tags, str) else tuple(fields.tags or ())
    return DatasetRow(
        messages=messages,
        prompt=prompt,
        max_tokens=fields.max_tokens or fields.max_completion_tokens,
        expected=expected,
        tags=tags + ((fields.category,) if fields.category else ()),
    )


def _prompt(fields: Fields) -> str:
    found = [(name, text) for name in PROMPTS if (text := getattr(fields, name)) is not None]
    if not found:
        what = f"none of messages, conversations, body, {', '.join(PROMPTS)} is there"
        raise FieldError(what, "name the field that holds the prompt `prompt`")
    name, prompt = found[0]
    if name == "instruction" and fields.input:
        prompt = f"{prompt}\n\n{fields.input}"
    if not prompt.strip():
        raise FieldError(f"{name} is empty", "give it text or take the row out")
    return str(prompt)


def _of_batch(body: dict[str, Any], url: str) -> DatasetRow:
    if url and not url.rstrip("/").endswith((_CHAT_URL, _TEXT_URL)):
        raise FieldError(f"url is {url!r}", f"only {_CHAT_URL} and {_TEXT_URL} are asked")
    try:
        known = msgspec.convert(body, _Body)
    except msgspec.ValidationError as error:
        raise FieldError(f"body: {error}", "write it as the API takes it") from error
    messages = [_message(message, f"body.messages[{at}]") for at, message in enumerate(known.messages or ())]
    if not messages and not (known.prompt or "").strip():
        raise FieldError("body has neither messages nor a prompt", "add one of them")
    return DatasetRow(
        messages=tuple(messages),
        prompt="" if messages else known.prompt or "",
        max_tokens=known.max_tokens or known.max_completion_tokens,
        parameters={name: value for name, value in body.items() if name not in _NOT_PARAMETERS},
    )


def _asked(messages: list[Message]) -> tuple[Message, ...]:
    """Up to the last message that is to be answered; none where only the assistant speaks."""
    while messages and messages[-1].role in ("assistant", "system"):
        messages.pop()
    return tuple(messages)


def _message(message: _Message, place: str) -> Message:
    if isinstance(message.content, str):
        return Message(message.role, message.content)
    parts = message.content or []
    if not parts or any(part.type not in ("text", "input_text") for part in parts):
        raise FieldError(f"{place}.content is not text", "only text is sent from a dataset")
    return Message(message.role, "".join(part.text for part in parts))


def _turn(turn: _Turn, place: str) -> Message:
    role = _ROLES.get(turn.speaker.lower())
    if role is None:
        raise FieldError(f"{place}.from is {turn.speaker!r}", f"write one of {', '.join(_ROLES)}")
    return Message(role, turn.value)
