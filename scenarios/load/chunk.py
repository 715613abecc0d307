"""What one event or body says: the few fields of OpenAI's JSON that are looked at, all else is skipped undecoded."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from scenarios.load.sse import event_fields


class _Text(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Text | None = None
    message: _Text | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def content(self) -> str | None:
        """Its answer text; None or empty for none."""
        said = self.delta or self.message
        return (said.content if said is not None else None) or self.text

    @property
    def reasons(self) -> bool:
        """Whether it carries reasoning text."""
        said = self.delta or self.message
        return said is not None and bool(said.reasoning_content or said.reasoning)


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Usage(msgspec.Struct, gc=False):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: Any = None


class _Maker(msgspec.Struct, gc=False):
    model: str | None = None
    system_fingerprint: str | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_lines = msgspec.json.Decoder(Chunk).decode_lines
_decode_maker = msgspec.json.Decoder(_Maker).decode
decode_any = msgspec.json.Decoder().decode
UNREADABLE = (UnicodeError, msgspec.DecodeError, RecursionError)  # the last: JSON nested without end


def plain_chunks(events: list[bytes]) -> list[Chunk] | None:
    """The chunks of events that are each `data: {...}` and nothing else; None where one is not, or is an error."""
    text = b"\n" + b"\n".join(events)
    if not text.count(b"\ndata: {") == text.count(b"\n") == len(events) or b"\r" in text:
        return None
    try:
        chunks = _decode_lines(text.replace(b"\ndata: ", b"\n").decode())
    except UNREADABLE:
        return None
    if len(chunks) != len(events) or any(chunk.error is not None for chunk in chunks):
        return None
    return chunks


def fingerprint(body: str | bytes) -> str:
    """Model and system_fingerprint as an event's data or a body names them, a space between; empty where none is named.

    A decoding of its own, once or twice for an answer: as fields of every Chunk they would cost each event.
    """
    try:
        maker = _decode_maker(body)
    except UNREADABLE:
        return ""
    return " ".join(filter(None, (maker.model, maker.system_fingerprint)))


def first_fingerprint(events: list[bytes]) -> str:
    """The fingerprint of the first of these events that has one."""
    for raw in events:
        try:
            data = event_fields(raw)[1]
        except UnicodeError:
            return ""
        if data and (named := fingerprint(data)):
            return named
    return ""


def says_text(raw: bytes) -> bool:
    """Whether an event carries text or reasoning text; False for one that cannot be read."""
    try:
        chunk = decode_chunk(event_fields(raw)[1])
    except UNREADABLE:
        return False
    return any(choice.content or choice.reasons for choice in chunk.choices or ())


def error_text(body: str) -> str:
    """What an error body says: {"error": {"message": ...}}, {"error": ...}, {"detail": ...}, or the body itself.

    All of it: what is secret in it must be taken out before it is cut.
    """
    try:
        document = decode_any(body)
    except UNREADABLE:
        return body.strip()
    said = document
    for key in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(key):
            said = said[key]
    if isinstance(said, str):
        return said
    return msgspec.json.encode(said).decode()
