"""Server-sent events as bytes: cut into events on the hot path, read into text after it.

Lines end in CRLF, LF or CR, a blank line ends an event (WHATWG HTML, section 9.2, "Server-sent events").
"""

from __future__ import annotations

import re

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]\s*\Z")
_BOM = b"\xef\xbb\xbf"
# A whole HTTP chunk (RFC 9112, section 7.1) with one event in it, one line of JSON: what servers send for a token
_PLAIN_CHUNK = re.compile(rb"([0-9a-fA-F]{1,6})\r\n(data: \{[^\r\n]*)\n\n\r\n").match
EVENT_LIMIT_BYTES = 1 << 20


class EventTooLarge(ValueError):
    """An event grew past the limit without a blank line."""


class EventSplitter:
    """Cuts a byte stream into raw `events`, the time each was complete in `times_ns`; `done` after the event [DONE].

    What follows [DONE] is dropped. It decodes nothing: a time and a slice for each event is all it costs.
    """

    __slots__ = ("_limit", "_rest", "_started", "_swallow_lf", "done", "events", "times_ns")

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self.events: list[bytes] = []
        self.times_ns: list[int] = []
        self.done = False
        self._rest = bytearray()
        self._limit = limit_bytes
        self._swallow_lf = False  # the last byte was a CR that ended an event: an LF after it belongs to it
        self._started = False

    def feed_chunks(self, data: bytes, now_ns: int) -> int:
        """Take HTTP chunks that are each one plain event from the start of `data`; returns how many bytes they were.

        0 in the middle of an event: only `feed` can go on then. Anything unusual is left for it too.
        """
        if self._rest or self._swallow_lf or self.done:
            return 0
        end = 0
        while (match := _PLAIN_CHUNK(data, end)) is not None:
            size, raw = match.groups()
            if int(size, 16) != len(raw) + 2 or len(raw) > self._limit:
                break
            self.events.append(raw)
            self.times_ns.append(now_ns)
            end = match.end()
        self._started = self._started or end > 0
        return end

    def forget_after(self, count: int) -> None:
        """Keep the first `count` events only."""
        del self.events[count:], self.times_ns[count:]

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take bytes that were read at `now_ns`. Raises EventTooLarge."""
        if self.done:
            return
        if self._swallow_lf and data:
            self._swallow_lf = False
            if data[0] == 10:
                data = data[1:]
        rest = self._rest
        buffer: bytes | bytearray = data
        searched = 0
        if rest:
            searched = max(0, len(rest) - 3)  # a blank line may straddle the seam
            rest += data
            buffer = rest
        start = 0
        while (match := _BLANK_LINE.search(buffer, searched)) is not None:
            cut, searched = match.span()
            del match  # a live match would pin the bytearray's size
            raw = bytes(buffer[start:cut])
            start = searched
            if not self._started:
                self._started = True
                raw = raw.removeprefix(_BOM)
            if raw:
                if len(raw) > self._limit:
                    raise EventTooLarge(f"an event of {len(raw)} bytes, more than {self._limit}")
                self.events.append(raw)
                self.times_ns.append(now_ns)
                if len(raw) < 64 and _DONE.search(raw):
                    self.done = True
                    self._rest = bytearray()
                    return
        if start and start == len(buffer):
            self._swallow_lf = buffer[-1] == 13
        if buffer is rest:
            del rest[:start]
        else:
            rest += data[start:]
        if len(rest) > self._limit:
            raise EventTooLarge(f"an event of more than {self._limit} bytes without an end")

    def close(self) -> None:
        """The stream is over: an unfinished event is dropped, as the standard has it, but for a [DONE]."""
        if not self.done and len(self._rest) < 64 and _DONE.search(self._rest):
            self.done = True


def event_fields(raw: bytes) -> tuple[str, str]:
    """Name and data of one raw event, several data lines joined by LF. Raises UnicodeDecodeError."""
    if raw.startswith(b"data: ") and b"\n" not in raw and b"\r" not in raw:
        return "", raw[6:].decode()
    name = ""
    data: list[str] = []
    for line in _LINE_END.split(raw.decode()):
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "data":
            data.append(value)
        elif key == "event":
            name = value
    return name, "\n".join(data)
