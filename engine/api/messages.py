"""Chat messages and tools as clients send them, and the rules that msgspec cannot state."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.errors import BadRequest
from engine.image_file import MAX_BYTES, ImageError, measure
from engine.json_schema import SchemaError, check_schema

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MAX_TOOLS = 128
MAX_IMAGES = 64
"""In one request."""
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


class ImageUrl(msgspec.Struct):
    """Where an image is: a `data:` URL holds it."""

    url: str
    detail: str | None = None


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class FunctionCall(msgspec.Struct):
    """What the model called. `arguments` is JSON, as the model wrote it."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct):
    """One call in an assistant's message."""

    function: FunctionCall
    id: str | None = None
    type: str = "function"


class Message(msgspec.Struct):
    """One chat message."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct):
    """A function that the model may call. `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool that the model may use."""

    function: Function
    type: str = "function"


def bad(param: str, message: str, code: str | None = None) -> BadRequest:
    """A 400 that names its field."""
    return BadRequest(400, message, param=param, code=code or "invalid_value")


def text_of(message: Message) -> str:
    """A message's text, its parts joined."""
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""


def characters_of(message: Message) -> int:
    """Characters of everything in a message that a template may print."""
    calls = message.tool_calls or ()
    named = len(message.name or "") + len(message.tool_call_id or "")
    return (
        named
        + len(text_of(message))
        + sum(len(call.id or "") + len(call.function.name) + len(call.function.arguments) for call in calls)
    )


def check_message(where: str, message: Message, images: bool) -> None:
    """Raise BadRequest naming the field at fault; turn the role into one that templates know.

    images: whether the model sees images.
    """
    role = ROLES.get(message.role)
    if role is None:
        raise bad(f"{where}.role", f"{where}.role must be one of {', '.join(ROLES)}")
    message.role = role
    if message.content is None and role != "assistant":
        raise bad(f"{where}.content", f"{where}.content is missing")
    if isinstance(message.content, list):
        for index, part in enumerate(message.content):
            _check_part(f"{where}.content[{index}]", part, images)
    if message.tool_calls and role != "assistant":
        raise bad(f"{where}.tool_calls", f"{where}.tool_calls: only the assistant calls tools")
    for index, call in enumerate(message.tool_calls or ()):
        at = f"{where}.tool_calls[{index}]"
        _check_kind(at, call.type)
        _check_name(f"{at}.function.name", call.function.name)


def images_of(messages: Sequence[Message]) -> dict[tuple[int, int], bytes]:
    """The image files in the messages, by the indices of message and part. Raises BadRequest naming the part."""
    found: dict[tuple[int, int], bytes] = {}
    for index, message in enumerate(messages):
        for number, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if part.image_url is not None and part.type == "image_url":
                at = f"messages[{index}].content[{number}].image_url.url"
                if len(found) == MAX_IMAGES:
                    raise bad(at, f"at most {MAX_IMAGES} images are taken in one request")
                found[index, number] = _image(at, part.image_url.url)
    return found


def _image(at: str, url: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None:
        raise bad(
            at,
            "images are taken as data: URLs only (data:image/png;base64,...), and nothing is fetched from the network: "
            "send the image itself",
            "unsupported_value",
        )
    if len(url) - head.end() > (MAX_BYTES + 2) // 3 * 4:
        raise bad(at, f"the image has more than {MAX_BYTES} bytes: send a smaller one", "invalid_image")
    try:
        image = binascii.a2b_base64(url[head.end() :], strict_mode=True)
        measure(image)
    except (ValueError, ImageError) as error:
        why = f"{error}" if isinstance(error, ImageError) else f"the image is not in base64 ({error}): encode it anew"
        raise bad(at, why, "invalid_image") from error
    return image


def check_tools(tools: list[Tool]) -> None:
    """Raise BadRequest naming the field at fault."""
    if len(tools) > MAX_TOOLS:
        raise bad("tools", f"at most {MAX_TOOLS} tools are taken, not {len(tools)}")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        at = f"tools[{index}]"
        _check_kind(at, tool.type)
        _check_name(f"{at}.function.name", tool.function.name)
        if tool.function.name in names:
            raise bad(f"{at}.function.name", f"two tools are called {tool.function.name}: give each its own name")
        names.add(tool.function.name)
        try:
            check_schema(tool.function.parameters or {})
        except SchemaError as error:
            raise bad(f"{at}.function.parameters", f"{at}.function.parameters is no JSON Schema: {error}") from error


def _check_part(at: str, part: Part, images: bool) -> None:
    if part.type == "image_url":
        if not images:
            raise bad(
                f"{at}.type",
                "images need a projector, and none is loaded: start the engine with `--mmproj FILE`, or send text only",
                "unsupported_value",
            )
        if part.image_url is None:
            raise bad(f"{at}.image_url", "an image_url part needs its image_url")
    elif part.type != "text":
        raise bad(
            f"{at}.type",
            f"content parts of type {part.type[:40]!r} are not supported: only text and image_url",
            "unsupported_value",
        )
    elif part.text is None:
        raise bad(f"{at}.text", "a text part needs its text")


def _check_kind(at: str, kind: str) -> None:
    if kind != "function":
        raise bad(f"{at}.type", f"{at}.type must be 'function', not {kind[:40]!r}", "unsupported_value")


def _check_name(at: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise bad(at, f"{at} needs 1 to 128 letters, digits or any of _ . : / -")
