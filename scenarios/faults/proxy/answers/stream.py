"""The stream.* kinds on the bytes of one answer. Answers that are no plain event stream go through as they are."""

from __future__ import annotations

from scenarios.faults.proxy.answers.edits import Edit, Onward, Part
from scenarios.faults.proxy.answers.events import EventSplitter
from scenarios.faults.proxy.answers.message import BodyReader, Framing, Head, HeadReader
from scenarios.faults.proxy.transform import Piece

_LAST_CHUNK = b"0\r\n\r\n"


def is_stream(head: Head) -> bool:
    """A successful answer whose content is an event stream that can be read, not a compressed one."""
    kind = (head.value(b"content-type") or b"").partition(b";")[0].strip()
    plain = head.value(b"content-encoding") in (None, b"", b"identity")
    codings = head.value(b"transfer-encoding") in (None, b"chunked")
    return 200 <= head.status < 300 and kind == b"text/event-stream" and plain and codings


class EventStream:
    """An edit on the events of a stream, each then a chunk of its own where the answer is chunked.

    An answer of known length that the edit makes longer or shorter ends where its connection does instead. One that the
    edit ends early is over for the client at once, with its connection, as its head has said: the target is heard out,
    and the rest of its answer could not be told from the next one. An event that is not whole waits here until it is.
    """

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._heads = HeadReader()
        self._body: BodyReader | None = None
        self._events = EventSplitter()
        self._chunked = self._closes = self._through = self._cut = False

    def instead(self, request_head: bytes) -> list[Piece] | None:
        """No request is answered here."""
        return None

    def feed(self, data: bytes) -> list[Piece]:
        if self._cut:
            return []
        if self._through:
            return [Piece(0.0, data)]
        pieces: list[Piece] = []
        if self._body is None:
            heads, data = self._heads.feed(data)
            pieces = [Piece(0.0, self._begin(head).raw) for head in heads]
            if self._heads.broken:
                self._through = True
                data = self._heads.take_rest()
            if self._body is None:
                return [*pieces, Piece(0.0, data)] if data else pieces
        content, tail = self._body.feed(data)
        parts = self._edited(content)
        if tail and not self._edit.over:
            parts += self._edit.take_rest(self._events.take_rest())
            self._through = not self._closes
        pieces += self._pieces(parts)
        if self._edit.over:
            self._cut = True
            return [*pieces, Piece(0.0, _LAST_CHUNK if self._chunked else b"", "left")]
        if tail and (self._chunked or not self._closes):
            pieces.append(Piece(0.0, tail))
        return pieces

    def end(self) -> list[Piece]:
        if self._through or self._cut:
            return []
        if self._body is None:
            rest = self._heads.take_rest()
            return [Piece(0.0, rest)] if rest else []
        pieces = self._pieces(self._edit.take_rest(self._events.take_rest()))
        if self._closes and self._body.over:
            pieces.append(Piece(0.0, b"", "fin"))
        return pieces

    def relent(self) -> list[Piece]:
        if self._cut:
            return []
        if self._body is None:
            self._through = True
            rest = self._heads.take_rest()
            return [Piece(0.0, rest)] if rest else []
        held = self._edit.take_rest(b"")
        self._edit = Onward()
        return self._pieces(held)

    def _begin(self, head: Head) -> Head:
        """The head as the client gets it."""
        if head.interim:
            return head
        framing = head.framing
        if not is_stream(head) or (framing is Framing.LENGTH and head.length is None):
            self._through = True
            return head
        self._chunked = framing is Framing.CHUNKED
        self._closes = self._edit.cuts or (framing is Framing.LENGTH and not self._edit.keeps_length)
        self._body = BodyReader(head)
        return head.until_close() if self._closes else head

    def _edited(self, content: bytes) -> list[Part]:
        parts: list[Part] = []
        for event in self._events.feed(content):
            parts += self._edit.take(event)
        if self._events.overgrown:
            parts += self._edit.take_rest(self._events.take_rest())
        return parts

    def _pieces(self, parts: list[Part]) -> list[Piece]:
        """What came together leaves together, but for what is to be apart."""
        pieces: list[Piece] = []
        together = False
        for part in parts:
            if not part.data:
                continue
            before, after = (b"%x\r\n" % len(part.data), b"\r\n") if self._chunked else (b"", b"")
            whole = before + part.data + after
            if part.cut:
                at = len(before) + part.cut
                pieces += (Piece(part.wait_s, whole[:at]), Piece(part.then_s, whole[at:]))
                together = False
            elif together and not part.wait_s:
                pieces[-1] = Piece(pieces[-1].wait_s, pieces[-1].data + whole)
            else:
                pieces.append(Piece(part.wait_s, whole))
                together = True
        return pieces
