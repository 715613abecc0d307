"""What http.* and stream.* faults do to the requests and answers of one connection."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.faults.proxy.answers.message import BodyReader, HeadReader
from scenarios.faults.proxy.force import Force
from scenarios.faults.proxy.requests import body_length, whole_head
from scenarios.faults.proxy.transform import Piece, Transform

_HEAD_LIMIT_BYTES = 256 << 10


class Answering:
    """One connection's requests in turn, each with the transforms that were drawn for it."""

    def __init__(self) -> None:
        self._held = b""  # a request's head that is not complete
        self._swallow = 0  # bytes of a request's body that go nowhere
        self._instead: list[Piece] = []
        self._transforms: list[Transform] = []
        self._heads = HeadReader()
        self._body: BodyReader | None = None

    @property
    def busy(self) -> bool:
        """Whether it has to see what comes, also when no fault is in force any more."""
        return bool(self._held or self._swallow or self._transforms)

    def request(self, data: bytes, begins: bool, forces: Sequence[Force]) -> tuple[bytes, list[Piece]]:
        """What of a request's bytes goes on to the target, and what the client gets for it at once.

        begins: a request begins here. forces: those drawn for it.
        """
        if self._swallow:
            self._swallow -= min(self._swallow, len(data))
            return b"", [] if self._swallow else self._instead
        if not (begins or self._held):
            return data, []
        self._held += data
        end = whole_head(self._held)
        if end is None and len(self._held) <= _HEAD_LIMIT_BYTES:
            return b"", []
        data, self._held = self._held, b""
        if end is None:
            return data, []
        pieces = self.finish()  # of an answer whose end was not seen
        self._transforms = [TRANSFORMS[force.order.kind](force.order.params) for force in forces]
        for force in forces:
            force.hit()
        self._heads, self._body = HeadReader(), None
        head, rest = data[:end], data[end:]
        for transform in self._transforms:
            if (own := transform.instead(head)) is not None:
                self._transforms = []
                self._swallow = max(0, body_length(head) - len(rest))
                self._instead = own
                return b"", pieces if self._swallow else pieces + own
        return data, pieces

    def answer(self, data: bytes) -> list[Piece]:
        """What the client gets for bytes of the target's answer."""
        if not self._transforms:
            return [Piece(0.0, data)]
        pieces = [Piece(0.0, data)]
        for transform in self._transforms:
            pieces = [out for piece in pieces for out in _through(transform, piece)]
        if self._is_over(data):
            pieces += self.finish()
        return pieces

    def finish(self) -> list[Piece]:
        """The answer is over: what is still to go to the client."""
        pieces: list[Piece] = []
        for transform in self._transforms:
            pieces = [out for piece in pieces for out in _through(transform, piece)] + transform.end()
        self._transforms = []
        return pieces

    def _is_over(self, data: bytes) -> bool:
        if self._body is None:
            heads, data = self._heads.feed(data)
            if self._heads.broken or not heads or heads[-1].interim:
                return False
            self._body = BodyReader(heads[-1])
        self._body.feed(data)
        return self._body.over


def _through(transform: Transform, piece: Piece) -> list[Piece]:
    """A piece through one more transform: its wait comes first, its close last."""
    out = transform.feed(piece.data) if piece.data else []
    if not out:
        return [Piece(piece.wait_s, b"", piece.close)] if piece.wait_s or piece.close else []
    out[0] = out[0]._replace(wait_s=out[0].wait_s + piece.wait_s)
    if piece.close:
        out.append(Piece(0.0, b"", piece.close))
    return out
