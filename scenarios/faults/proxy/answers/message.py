"""One HTTP/1.1 answer as it comes in, cut anywhere: its head, and what of the rest is content. RFC 9112, section 6."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})(?!\d)")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?\r?\n\Z", re.DOTALL)
_LENGTH = re.compile(rb"\d{1,18}")
HEAD_LIMIT_BYTES = 256 << 10
_LINE_LIMIT_BYTES = 16 << 10  # of a chunk's size or a trailer


class Framing(Enum):
    """How the end of the body is known."""

    NONE = "no body"
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers as they came, the blank line included."""

    raw: bytes

    @property
    def status(self) -> int:
        """0 where the first line is no status line."""
        match = _STATUS.match(self.raw)
        return int(match[1]) if match else 0

    @property
    def interim(self) -> bool:
        """Another head follows."""
        return 100 <= self.status < 200 and self.status != 101

    def value(self, name: bytes) -> bytes | None:
        """The header's value, in small letters; of several ones the last."""
        found: list[bytes] = re.findall(rb"(?mi)^" + re.escape(name) + rb"[ \t]*:([^\r\n]*)", self.raw)
        return found[-1].strip().lower() if found else None

    def without(self, name: bytes) -> Head:
        """This head less every header of that name."""
        return Head(re.sub(rb"(?mi)^" + re.escape(name) + rb"[ \t]*:[^\n]*\n(?:[ \t]+[^\s][^\n]*\n)*", b"", self.raw))

    def until_close(self) -> Head:
        """This head for a body that ends where the connection does."""
        bare = self.without(b"content-length").without(b"connection").raw
        line, end, rest = bare.partition(b"\n")
        return Head(line + end + b"Connection: close\r\n" + rest)

    @property
    def framing(self) -> Framing:
        """As the client has to see it, unless the request was HEAD."""
        if self.status < 200 or self.status in (204, 304):
            return Framing.NONE
        coding = self.value(b"transfer-encoding")
        if coding is not None:
            return Framing.CHUNKED if coding.rpartition(b",")[2].strip() == b"chunked" else Framing.CLOSE
        return Framing.CLOSE if self.value(b"content-length") is None else Framing.LENGTH

    @property
    def length(self) -> int | None:
        """What Content-Length says; None where that is no number."""
        value = self.value(b"content-length") or b""
        return int(value) if _LENGTH.fullmatch(value) else None


class HeadReader:
    """Finds the head of the answer, and the interim ones before it."""

    __slots__ = ("_rest", "broken")

    def __init__(self) -> None:
        self._rest = b""
        self.broken = False  # it is too large to be one

    def feed(self, data: bytes) -> tuple[list[Head], bytes]:
        """Whole heads, as they came, and what follows the last of them once it is not interim."""
        rest = self._rest + data
        heads: list[Head] = []
        while (match := _HEAD_END.search(rest)) is not None:
            head = Head(rest[: match.end()])
            heads.append(head)
            rest = rest[match.end() :]
            if not head.interim:
                self._rest = b""
                return heads, rest
        self._rest = rest
        self.broken = len(rest) > HEAD_LIMIT_BYTES
        return heads, b""

    def take_rest(self) -> bytes:
        """What came after the last whole head; it is forgotten here."""
        rest, self._rest = self._rest, b""
        return rest


class BodyReader:
    """Takes the framing off a body. `over`: its end has come. `beyond`: what lay behind the end when last fed.

    framing: where it is not as the head of an answer says.
    """

    __slots__ = ("_framing", "_in_tail", "_left", "_line", "_newline_due", "beyond", "over")

    def __init__(self, head: Head, framing: Framing | None = None) -> None:
        self._framing = head.framing if framing is None else framing
        self.beyond = b""
        self._left = 0  # bytes of the body, or of the chunk, that are still to come
        self._line = b""  # the beginning of a chunk's size or a trailer
        self._newline_due = False  # a chunk's data is complete, the end of its line is not
        self._in_tail = False
        self.over = self._framing is Framing.NONE
        if self._framing is Framing.LENGTH:
            length = head.length
            self._in_tail = length is None
            self._left = length or 0
            self.over = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in these bytes, and what follows it and has to stay as it is.

        The second is the last chunk with its trailers, bytes after the end, and all from the point where the framing is
        broken; once there was some, no content comes any more.
        """
        if self._framing is Framing.CLOSE:
            return data, b""
        if self.over:
            self.beyond = data
            return b"", data
        if self._framing is Framing.CHUNKED:
            return self._chunks(data)
        content, tail = data[: self._left], data[self._left :]
        self._left -= len(content)
        self.over = self._left == 0 and not self._in_tail
        self.beyond = tail if self.over else b""
        return content, tail

    def _chunks(self, data: bytes) -> tuple[bytes, bytes]:
        content: list[bytes] = []
        at = 0
        while at < len(data) and not self._in_tail:
            if self._left:
                some = data[at : at + self._left]
                content.append(some)
                at += len(some)
                self._left -= len(some)
                self._newline_due = self._left == 0
                continue
            end = data.find(b"\n", at)
            line = self._line + (data[at:] if end < 0 else data[at : end + 1])
            if self._newline_due and line in (b"\r\n", b"\n"):
                self._newline_due = False
                self._line = b""
                at = end + 1
                continue
            if end < 0 and len(line) <= (1 if self._newline_due else _LINE_LIMIT_BYTES):
                self._line = line
                at = len(data)
                continue
            size = None if self._newline_due else _SIZE.match(line)
            self._line = b""
            if size is not None and (left := int(size[1], 16)) > 0:
                self._left = left
                at = end + 1
                continue
            self._in_tail = True
            rest = data[end + 1 :] if end >= 0 else b""
            if size is not None:
                self._trailers(rest)
            return b"".join(content), line + rest
        if self._in_tail:
            self._trailers(data[at:])
        return b"".join(content), data[at:]

    def _trailers(self, data: bytes) -> None:
        """Look for the blank line that ends the answer."""
        *lines, rest = (self._line + data).split(b"\n")
        for at, line in enumerate(lines):
            if line in (b"", b"\r"):
                self.over = True
                self.beyond = b"\n".join((*lines[at + 1 :], rest))
                return
        self._line = rest[:_LINE_LIMIT_BYTES]
