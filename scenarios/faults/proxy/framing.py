"""Where a request and its answer end on a connection that carries several, for faults on one of them. Pure."""

from __future__ import annotations

from scenarios.faults.proxy.answers.message import BodyReader, Framing, Head, HeadReader

_LAST_CHUNK = b"0\r\n\r\n"
_FIRST_BYTES = 16 << 10  # kept of an answer, to see later where it ends


class RequestReader:
    """Holds a request back until its head is whole, then says where its last byte is.

    `head`: None until it is whole; empty where what came is no head of at most 256 KiB: then no end is looked for.
    `over`: the request's last byte has come.
    """

    __slots__ = ("_body", "_heads", "head")

    def __init__(self) -> None:
        self._heads = HeadReader()
        self._body: BodyReader | None = None
        self.head: bytes | None = None

    @property
    def over(self) -> bool:
        return self._body is not None and self._body.over

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the request may go on its way now, its head included, and what follows its end."""
        head = b""
        if self.head is None:
            heads, data = self._heads.feed(data)
            if not heads:
                if not self._heads.broken:
                    return b"", b""
                self.head = b""
                return self._heads.take_rest(), b""
            head = self.head = heads[0].raw
            self._body = BodyReader(heads[0], _framing(heads[0]))
        if self._body is None:
            return data, b""
        self._body.feed(data)
        beyond = self._body.beyond
        return head + data[: len(data) - len(beyond)], beyond

    def end(self) -> bytes:
        """What is still held; nothing more comes."""
        return self._heads.take_rest()


def _framing(request: Head) -> Framing:
    """Of a request, which has no body unless it says so: RFC 9112, section 6.3."""
    if request.value(b"transfer-encoding") is not None:
        return Framing.CHUNKED
    return Framing.LENGTH if request.length else Framing.NONE


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


class AnswerCounter:
    """Counts the bytes of one answer and tells whether it is over when that is asked: little work for each piece."""

    __slots__ = ("_first", "_tail", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._first = self._tail = b""

    def count(self, data: bytes) -> None:
        if not self.bytes:
            self._first = data[:_FIRST_BYTES]
        self.bytes += len(data)
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]

    @property
    def over(self) -> bool:
        """Whether its last byte seems to have come; of a chunked one the usual last chunk is looked for."""
        heads, _ = HeadReader().feed(self._first)
        if not heads or heads[-1].interim:
            return False
        head = heads[-1]
        match head.framing:
            case Framing.LENGTH:
                before = sum(len(one.raw) for one in heads)
                return head.length is None or self.bytes >= before + head.length
            case Framing.CHUNKED:
                return self._tail == _LAST_CHUNK
            case Framing.NONE:
                return True
            case Framing.CLOSE:
                return False


def only_interim(data: bytes) -> bool:
    """Whether these bytes of an answer are a head after which another one comes."""
    heads, _ = HeadReader().feed(data)
    return not heads or heads[-1].interim
