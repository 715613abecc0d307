"""Where a request and its answer end on a connection that carries several, for faults on one of them. Pure."""

from __future__ import annotations

from scenarios.faults.proxy.answers.message import BodyReader, HeadReader


class RequestReader:
    """Holds a request back until its head is whole, then says how much of it is still to come.

    `head`: None until it is whole; empty where what came is no head of at most 256 KiB. `over`: the request's last byte
    has come. `endless`: it says no length, so that its end is not seen.
    """

    __slots__ = ("_heads", "_left", "endless", "head")

    def __init__(self) -> None:
        self._heads = HeadReader()
        self.head: bytes | None = None
        self.endless = False
        self._left = 0

    @property
    def over(self) -> bool:
        return self.head is not None and not self.endless and self._left <= 0

    def feed(self, data: bytes) -> bytes:
        """What of the request may go on its way now, the head included."""
        if self.head is not None:
            self._left -= len(data)
            return data
        heads, rest = self._heads.feed(data)
        if heads:
            head = heads[0]
            self.head = head.raw
            self._left = (head.length or 0) - len(rest)
            self.endless = head.value(b"transfer-encoding") is not None
            return head.raw + rest
        if self._heads.broken:
            self.head = b""
            return self._heads.take_rest()
        return b""

    def end(self) -> bytes:
        """What is still held; nothing more comes."""
        return self._heads.take_rest()


class AnswerReader:
    """Looks for the end of an answer as its bytes go by. `over`: its last byte has come.

    `bare`: the answer has no body whatever its head says, being that to HEAD.
    """

    __slots__ = ("_bare", "_body", "_heads", "over")

    def __init__(self, bare: bool = False) -> None:
        self._heads = HeadReader()
        self._body: BodyReader | None = None
        self._bare = bare
        self.over = False

    def feed(self, data: bytes) -> None:
        if self._body is None:
            heads, data = self._heads.feed(data)
            if not heads or heads[-1].interim:
                return
            if self._bare:
                self.over = True
                return
            self._body = BodyReader(heads[-1])
        if data:
            self._body.feed(data)
        self.over = self._body.over
