"""http.header_lost: an answer without one of its headers, and what follows from that."""

from __future__ import annotations

from scenarios.faults.proxy.answers.message import BodyReader, Framing, Head, HeadReader
from scenarios.faults.proxy.transform import Piece


class HeaderLost:
    """Takes one header out of the head; the body's bytes stay as they are.

    Without Transfer-Encoding or Content-Length the client has to read until the connection closes, chunk sizes and all:
    so it is closed at the answer's end.
    """

    def __init__(self, header: str) -> None:
        self._name = header.encode()
        self._heads = HeadReader()
        self._body: BodyReader | None = None
        self._closes = self._through = False

    def instead(self, request_head: bytes) -> list[Piece] | None:
        """No request is answered here."""
        return None

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        if self._body is None and not self._through:
            heads, data = self._heads.feed(data)
            pieces = [Piece(0.0, self._begin(head).raw) for head in heads]
            if self._heads.broken:
                self._through = True
                data = self._heads.take_rest()
        if self._body is not None:
            self._body.feed(data)
        return [*pieces, Piece(0.0, data)] if data else pieces

    def end(self) -> list[Piece]:
        rest = self._heads.take_rest()
        pieces = [Piece(0.0, rest)] if rest else []
        if self._closes and self._body is not None and self._body.over:
            pieces.append(Piece(0.0, b"", "fin"))
        return pieces

    def relent(self) -> list[Piece]:
        if self._body is not None or self._through:
            return []
        self._through = True
        rest = self._heads.take_rest()
        return [Piece(0.0, rest)] if rest else []

    def _begin(self, head: Head) -> Head:
        """The head as the client gets it."""
        if head.interim:
            return head
        bare = head.without(self._name)
        self._body = BodyReader(head)
        self._closes = bare.framing is Framing.CLOSE and head.framing is not Framing.CLOSE
        return bare
