"""A stream's content cut into events as bytes, each with its blank line (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re

EVENT_LIMIT_BYTES = 1 << 20
# A CR that may be half of a CRLF is no end yet; after a bare CR an LF is taken as the next event's, where it is nothing
_BLANK_LINE = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n|\r(?=[^\n]))|\r\r")
_DATA = re.compile(rb"(?:^|[\r\n])data[:\r\n]")
_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]\s*\Z")
_WIDE_CHARACTER = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
_BOM = b"\xef\xbb\xbf"


class EventSplitter:
    """Cuts content into events, blank lines and a byte order mark of their own where there are such.

    The cuts depend on the content alone, not on how it arrives. After an event larger than EVENT_LIMIT_BYTES nothing is
    cut any more: `overgrown`.
    """

    __slots__ = ("_rest", "_started", "overgrown")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._started = False
        self.overgrown = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole now. Once `overgrown`, `take_rest` has what is left."""
        rest = self._rest
        searched = max(0, len(rest) - 4)  # a blank line may straddle the seam
        rest += data
        events: list[bytes] = []
        start = 0
        while not self.overgrown and (match := _BLANK_LINE.search(rest, searched)) is not None:
            end = searched = match.end()
            del match  # a live match would pin the bytearray's size
            if end - start > EVENT_LIMIT_BYTES:
                self.overgrown = True
                break
            event = bytes(rest[start:end])
            start = end
            if not self._started:
                self._started = True
                if event.startswith(_BOM):
                    events.append(_BOM)
                    event = event.removeprefix(_BOM)
            events.append(event)
        del rest[:start]
        self.overgrown = self.overgrown or len(rest) > EVENT_LIMIT_BYTES
        return events

    def take_rest(self) -> bytes:
        """What is no whole event (yet); it is forgotten here."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


def carries_data(event: bytes) -> bool:
    """Whether a client sees this event: one of comments only is none."""
    return _DATA.search(event) is not None


def is_done(event: bytes) -> bool:
    """Whether it is the stream's own terminator, data: [DONE]."""
    return len(event) < 64 and _DONE.search(event) is not None


def cut_in_a_character(event: bytes) -> int:
    """Where to cut it: inside its first character of several bytes, else inside its line end; 0 for nowhere."""
    if (wide := _WIDE_CHARACTER.search(event)) is not None:
        return wide.start() + 1
    return len(event) - 1 if event.endswith((b"\n", b"\r")) else 0
