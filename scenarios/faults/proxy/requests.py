"""Where requests begin and end in what a client sends over one connection. Pure. RFC 9112, section 6."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"(?mi)^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?mi)^transfer-encoding[ \t]*:[^\r\n]*chunked")
_HEAD_END = b"\r\n\r\n"
_LIMIT_BYTES = 256 << 10


class RequestWatch:
    """Follows the requests of a connection, one after the other, without holding anything back.

    lost: what comes is no HTTP that it can follow; nothing is known from there on.
    """

    __slots__ = ("_chunked", "_head", "_left", "_tail", "lost")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._chunked = False
        self._tail = b""
        self.lost = False

    @property
    def between(self) -> bool:
        """Whether the next byte begins a request."""
        return not (self.lost or self._head or self._left or self._chunked)

    def feed(self, data: bytes) -> bool:
        """Whether a request was completed by these bytes."""
        done = False
        while data and not self.lost:
            if self._chunked:
                self._tail = (self._tail + data)[-5:]
                if self._tail.endswith(b"0\r\n\r\n"):
                    self._chunked, self._tail, done = False, b"", True
                return done
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                done = done or not self._left
                continue
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                self.lost = len(self._head) > _LIMIT_BYTES
                return done
            head, data = self._head[: end + 4], self._head[end + 4 :]
            self._head = b""
            self._chunked = _CHUNKED.search(head) is not None
            self._left = 0 if self._chunked else body_length(head)
            done = done or not (self._left or self._chunked)
        return done


def body_length(head: bytes) -> int:
    """What Content-Length says, 0 where it says nothing."""
    match = _LENGTH.search(head)
    return int(match[1]) if match else 0


def whole_head(data: bytes) -> int | None:
    """Where the head ends in bytes that begin a request; None while it is not complete."""
    end = data.find(_HEAD_END)
    return None if end < 0 else end + len(_HEAD_END)
