"""stream.bytewise: the content of a stream, with its framing, one byte at a time."""

from __future__ import annotations

from scenarios.faults.proxy.answers.message import HeadReader
from scenarios.faults.proxy.answers.stream import is_stream
from scenarios.faults.proxy.transform import Piece


class Bytewise:
    """The head of the answer goes out as it is. Other answers than streams go through."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._heads = HeadReader()
        self._in_body = self._through = False

    def instead(self, request_head: bytes) -> list[Piece] | None:
        """No request is answered here."""
        return None

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        if not self._in_body and not self._through:
            heads, data = self._heads.feed(data)
            pieces = [Piece(0.0, head.raw) for head in heads]
            if heads and not heads[-1].interim:
                self._in_body = is_stream(heads[-1])
                self._through = not self._in_body
            elif self._heads.broken:
                self._through = True
                data = self._heads.take_rest()
        if self._in_body:
            return pieces + [Piece(self._delay_s, data[at : at + 1]) for at in range(len(data))]
        return [*pieces, Piece(0.0, data)] if data else pieces

    def end(self) -> list[Piece]:
        rest = self._heads.take_rest()
        return [Piece(0.0, rest)] if rest else []

    def relent(self) -> list[Piece]:
        self._in_body, self._through = False, True
        return self.end()
