"""What a client may send, checked once: msgspec for shape and types, then the rules between fields."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from engine.errors import BadRequest
from engine.wire import Sampling

TOP_K_CAP = 1024
"""top_k 0 or -1 means "all"; llama.cpp's top_p over a whole vocabulary takes 16 ms a token, over this many none."""
MAX_STOPS = 16
MAX_STOP_CHARS = 256
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}

_Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Natural = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One chat message."""

    role: str
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer."""

    include_usage: bool | None = None


class _Common(msgspec.Struct, kw_only=True):
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Natural | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: _Int | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    n: _Natural | None = None
    logit_bias: dict[str, Any] | None = None


class ChatRequest(_Common, kw_only=True):
    """POST /v1/chat/completions. Unknown fields are ignored."""

    messages: list[Message]
    max_completion_tokens: _Natural | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None


class CompletionRequest(_Common, kw_only=True):
    """POST /v1/completions. Unknown fields are ignored."""

    prompt: Any
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: _Natural | None = None


_T = TypeVar("_T", ChatRequest, CompletionRequest)
_chat = msgspec.json.Decoder(ChatRequest)
_completion = msgspec.json.Decoder(CompletionRequest)
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def parse_chat(body: bytes) -> ChatRequest:
    """Decode and check a chat request. Raises BadRequest naming the field."""
    request = _decode(_chat, body)
    if not request.messages:
        raise bad("messages", "messages is empty: send at least one message")
    for index, message in enumerate(request.messages):
        _check_message(f"messages[{index}]", message)
    _unsupported(request, ("tools", "functions", "audio"))
    if isinstance(request.tool_choice, dict) or request.tool_choice not in (None, "none", "auto"):
        raise _not_yet("tool_choice")
    kind = request.response_format.get("type") if isinstance(request.response_format, dict) else None
    if request.response_format is not None and kind != "text":
        raise _not_yet("response_format")
    if request.modalities not in (None, ["text"]):
        raise _not_yet("modalities")
    if request.top_logprobs and not request.logprobs:
        raise bad("top_logprobs", "top_logprobs needs logprobs: true")
    return request


def parse_completion(body: bytes) -> CompletionRequest:
    """Decode and check a completion request; `prompt` is one string afterwards. Raises BadRequest naming the field."""
    request = _decode(_completion, body)
    prompt = request.prompt
    if isinstance(prompt, list):
        if len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        elif prompt and all(isinstance(item, str) for item in prompt):
            raise bad("prompt", "several prompts in one request are not supported yet: send one request each")
        else:
            raise bad("prompt", "prompt must be a string; token ids are not supported yet")
    if not isinstance(prompt, str):
        raise bad("prompt", f"prompt must be a string, not {_json_name(prompt)}")
    if not prompt:
        raise bad("prompt", "prompt is empty: send some text")
    request.prompt = prompt
    if request.echo:
        raise _not_yet("echo")
    if request.suffix:
        raise _not_yet("suffix")
    if request.best_of is not None and request.best_of > 1:
        raise _not_yet("best_of")
    return request


def text_of(message: Message) -> str:
    """A message's text, its parts joined."""
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""


def sampling_of(request: ChatRequest | CompletionRequest) -> Sampling:
    """The sampler's settings. Without a seed a random one is drawn."""
    top_logprobs = -1
    if isinstance(request, ChatRequest):
        if request.logprobs:
            top_logprobs = request.top_logprobs or 0
    elif request.logprobs is not None:
        top_logprobs = request.logprobs
    top_k = 40 if request.top_k is None else request.top_k
    return Sampling(
        temperature=_or(request.temperature, 1.0),
        top_k=min(top_k, TOP_K_CAP) if top_k > 0 else TOP_K_CAP,
        top_p=_or(request.top_p, 1.0),
        min_p=_or(request.min_p, 0.0),
        # 0xFFFFFFFF would make llama.cpp draw a seed of its own.
        seed=secrets.randbelow(0xFFFFFFFF) if request.seed is None else request.seed % 0xFFFFFFFF,
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        repeat_penalty=_or(request.repeat_penalty, 1.0),
        ignore_eos=bool(request.ignore_eos),
        top_logprobs=top_logprobs,
    )


def stops_of(request: ChatRequest | CompletionRequest) -> list[str]:
    """The stop strings."""
    if request.stop is None:
        return []
    return [request.stop] if isinstance(request.stop, str) else list(request.stop)


def bad(param: str, message: str, code: str | None = None) -> BadRequest:
    """A 400 that names its field."""
    return BadRequest(400, message, param=param, code=code or "invalid_value")


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        at, missing = _PATH.search(text), _MISSING.search(text)
        param = missing.group(1) if missing else at.group(1) if at else None
        raise BadRequest(400, text.replace("$.", "")[:500], param=param or None, code="invalid_type") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(400, f"The body is not valid JSON: {str(error)[:300]}", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest(400, "The body is nested too deeply.", code="invalid_json") from error
    if request.n is not None and request.n > 1:
        raise _not_yet("n")
    if request.logit_bias:
        raise _not_yet("logit_bias")
    stops = stops_of(request)
    if len(stops) > MAX_STOPS:
        raise bad("stop", f"at most {MAX_STOPS} stop strings are taken, not {len(stops)}")
    if any(not stop or len(stop) > MAX_STOP_CHARS for stop in stops):
        raise bad("stop", f"each stop string needs 1 to {MAX_STOP_CHARS} characters")
    return request


def _check_message(where: str, message: Message) -> None:
    role = ROLES.get(message.role)
    if role is None:
        raise bad(f"{where}.role", f"{where}.role must be one of {', '.join(ROLES)}")
    message.role = role
    if message.content is None and role != "assistant":
        raise bad(f"{where}.content", f"{where}.content is missing")
    if isinstance(message.content, list):
        for index, part in enumerate(message.content):
            if part.type != "text":
                raise bad(
                    f"{where}.content[{index}].type",
                    f"content parts of type {part.type[:40]!r} are not supported yet: only text",
                    "unsupported_value",
                )
            if part.text is None:
                raise bad(f"{where}.content[{index}].text", "a text part needs its text")


def _unsupported(request: msgspec.Struct, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(request, name):
            raise _not_yet(name)


def _not_yet(field: str) -> BadRequest:
    return bad(field, f"{field} is not supported yet: leave it out", "unsupported_value")


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _json_name(value: object) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "an array",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), "a string")
