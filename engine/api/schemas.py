"""What both generation APIs take, checked once: msgspec for shape and types, then the rules between fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from engine.api.jsonbody import decode_body
from engine.api.messages import bad
from engine.errors import BadRequest

MAX_ANSWERS = 16
"""Largest n, and most prompts in one request."""
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_BIASES = 1024
MAX_IGNORED_CHARS = 512
"""Length of the header that names ignored fields."""

Natural = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Penalty = Annotated[float, Meta(ge=0.01, le=10)]
_Bias = Annotated[float, Meta(ge=-100, le=100)]


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer."""

    include_usage: bool | None = None


class JsonSchema(msgspec.Struct):
    """A JSON Schema, kept as the text that came."""

    name: str | None = None
    schema: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What the answer must be: text, json_object or json_schema. `schema` beside json_object is llama-server's way."""

    type: str
    json_schema: JsonSchema | None = None
    schema: msgspec.Raw = msgspec.Raw()


class Fields(msgspec.Struct, kw_only=True):
    """The fields that chat and plain completions share. Unknown ones are ignored."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_ANSWERS)] | None = None
    max_tokens: Natural | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: _Seed | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: _Penalty | None = None
    repetition_penalty: _Penalty | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    logit_bias: Annotated[dict[str, _Bias], Meta(max_length=MAX_BIASES)] | None = None
    ignore_eos: bool | None = None
    response_format: ResponseFormat | None = None
    grammar: str | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    # Labels of the caller's own: nothing could be done about them, so they are not named as ignored.
    user: str | None = None
    metadata: Any = None

    @property
    def constrained_by(self) -> str:
        """The field that says what the answer must be, if any does."""
        return "grammar" if self.grammar is not None else "response_format"


FieldsT = TypeVar("FieldsT", bound=Fields)
_names_only: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(decoder: msgspec.json.Decoder[FieldsT], body: bytes) -> FieldsT:
    """Decode a body and check what both APIs share. Raises BadRequest naming the field."""
    fields = decode_body(decoder, body)
    if fields.stream_options is not None and not fields.stream:
        raise bad("stream_options", "stream_options needs stream: true")
    stops = stops_of(fields)
    if len(stops) > MAX_STOPS:
        raise bad("stop", f"at most {MAX_STOPS} stop strings are taken, not {len(stops)}")
    if any(not stop or len(stop) > MAX_STOP_CHARS for stop in stops):
        raise bad("stop", f"each stop string needs 1 to {MAX_STOP_CHARS} characters")
    if fields.repeat_penalty is not None and fields.repetition_penalty is not None:
        raise bad("repetition_penalty", "repetition_penalty is another name of repeat_penalty: send one of them")
    return fields


def stops_of(fields: Fields) -> list[str]:
    """The stop strings."""
    if fields.stop is None:
        return []
    return [fields.stop] if isinstance(fields.stop, str) else list(fields.stop)


def unknown_fields(body: bytes, kind: type[Fields]) -> list[str]:
    """Top-level names in a decoded body that `kind` does not have, in their order; those that are null do nothing."""
    known = kind.__struct_fields__
    return [
        name for name, value in decode_body(_names_only, body).items() if name not in known and bytes(value) != b"null"
    ]


def header_of(names: Sequence[str]) -> bytes:
    """Field names as a header's value: printable ASCII only, and of bounded length.

    >>> header_of(["store", "x\\r\\ny,é"])
    b'store, x??y??'
    """
    shown: list[str] = []
    room = MAX_IGNORED_CHARS
    for name in names:
        clean = "".join(c if "!" <= c <= "~" and c != "," else "?" for c in name[:64])
        room -= len(clean) + 2
        if room < 0:
            shown.append("...")
            break
        shown.append(clean)
    return ", ".join(shown).encode()


def not_supported(field: str, fix: str = "leave it out") -> BadRequest:
    """A 400 for a field whose meaning is known but cannot be given."""
    return bad(field, f"{field} is not supported: {fix}", "unsupported_value")
