"""One request on its way: what was written, what came back as bytes, and how it ended. No I/O and no decoding here."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from scenarios.load.sse import EventSplitter, EventTooLarge
from scenarios.request import Retry

BODY_LIMIT_BYTES = 64 << 20
HEAD_LIMIT_BYTES = 256 << 10
_INFLATE_LIMIT_BYTES = 16 << 20  # of one read: more than that from one read is a bomb


class Job(msgspec.Struct, array_like=True, gc=False):
    """A planned request ready to be written: its bytes, and what of the plan the sending needs.

    It comes by the thousand, mid-run: as an array it is decoded in a fifth of a microsecond, and the collector never
    looks at it.
    """

    index: int
    due_ns: int  # from the run's start
    wire: bytes
    timeout_s: float
    stream: bool
    raw: bool
    head: bool  # the answer has no body
    contract: bool  # a completion: a 2xx answer must be JSON, or SSE where asked for
    raw_chunks_s: float = 0.0
    hang_up_after_s: float = 0.0
    hang_up_after_events: int = 0
    read_bytes_per_s: float = 0.0
    defect: str = ""  # why it cannot be written at all
    after: int | None = None  # index of the request that must be over first
    think_ns: int = 0
    followed: bool = False  # others may wait for its end
    retry: Retry | None = None
    tenant: str = ""

    @property
    def alone(self) -> bool:
        """It takes a connection of its own, which is closed after it."""
        return self.raw or self.read_bytes_per_s > 0


class Ending(Enum):
    """How the exchange came to its end, seen from the socket."""

    COMPLETE = "complete"  # the whole message, or [DONE]
    EOF = "eof"  # closed before that
    RESET = "reset"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    BREACH = "breach"  # bytes that are no HTTP or SSE
    HUNG_UP = "hung up"  # by us, on purpose
    STOPPED = "stopped"  # by us, the run is over
    UNSENT = "unsent"


class Exchange:
    """The facts of one request so far. Times are time.monotonic_ns(); `ending` is None until it is over."""

    __slots__ = (
        "_looked_at", "_said", "body", "body_bytes", "chunked", "connecting", "content_type", "date", "due_ns",
        "encoding", "end_ns", "ending", "fresh", "hang_up_timer", "inflate", "job", "length_known", "reason",
        "received_bytes", "retried", "retry_after", "sent_ns", "splitter", "status", "timeout_timer",
        "transport_owner", "watched",
    )  # fmt: skip

    def __init__(self, job: Job, due_ns: int) -> None:
        self.job = job
        self.due_ns = due_ns
        self.sent_ns: int | None = None
        self.end_ns = 0
        self.ending: Ending | None = None
        self.reason = ""
        self.fresh = False  # it must not, or did not, travel on a kept-alive connection
        self.retried = False
        self.received_bytes = 0
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.timeout_timer: asyncio.TimerHandle | None = None
        self.hang_up_timer: asyncio.TimerHandle | None = None
        self.connecting: asyncio.Task[Any] | None = None
        self.transport_owner: object | None = None  # the connection it is on
        self.watched = job.hang_up_after_events > 0 or job.read_bytes_per_s > 0  # we misbehave while we read
        self._looked_at = self._said = 0
        self.clear_head()

    def clear_head(self) -> None:
        """Forget status and headers: an interim (1xx) answer is not the answer."""
        self.status: int | None = None
        self.content_type = ""
        self.encoding = ""
        self.retry_after: str | None = None
        self.date: str | None = None
        self.length_known = False
        self.chunked = False  # plain chunks of plain bytes, as far as the headers say
        self.splitter: EventSplitter | None = None
        self.inflate: zlib._Decompress | None = None

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def succeeded(self) -> bool:
        """A final 2xx status has come."""
        return self.status is not None and 200 <= self.status < 300

    def take_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self.content_type = value.decode("latin-1").partition(";")[0].strip().lower()
            case b"content-encoding":
                self.encoding = value.decode("latin-1").strip().lower()
            case b"retry-after":
                self.retry_after = value.decode("latin-1").strip()
            case b"date":
                self.date = value.decode("latin-1")
            case b"content-length":
                self.length_known = True
            case b"transfer-encoding":
                self.length_known = True
                self.chunked = value.lower() == b"chunked"

    def take_head(self, status: int) -> str:
        """The header block is complete. Returns what is wrong with it, or nothing."""
        self.status = status
        if status == 101:
            return "the server switched protocols without being asked"
        if status < 100 or status > 599:
            return f"status {status} is no HTTP status"
        if status >= 200:
            if self.succeeded and self.content_type == "text/event-stream":
                self.splitter = EventSplitter()
            if self.encoding in ("gzip", "x-gzip", "deflate"):
                self.inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            elif self.encoding not in ("", "identity"):
                return f"content-encoding {self.encoding[:40]!r}, which was not asked for"
        return ""

    def take_chunks(self, data: bytes, now_ns: int) -> int:
        """As `take_body`, of whole chunks with a plain event in each; returns how many bytes at the start were such."""
        splitter = self.splitter
        if splitter is None or self.inflate is not None or self.body_bytes > BODY_LIMIT_BYTES:
            return 0
        taken = splitter.feed_chunks(data, now_ns)
        self.received_bytes += taken
        self.body_bytes += taken
        return taken

    def take_body(self, data: bytes, now_ns: int) -> str:
        """A piece of the body, read at `now_ns`. Returns what is wrong with it, or nothing."""
        if self.inflate is not None:
            try:
                data = self.inflate.decompress(data, _INFLATE_LIMIT_BYTES)
            except zlib.error as error:
                return f"content-encoding {self.encoding}: {error}"
            if self.inflate.unused_data:
                return f"content-encoding {self.encoding}: bytes after the end of the compressed body"
            if self.inflate.unconsumed_tail:
                return f"content-encoding {self.encoding}: more than {_INFLATE_LIMIT_BYTES} bytes out of one read"
        self.body_bytes += len(data)
        if self.body_bytes > BODY_LIMIT_BYTES:
            return f"an answer of more than {BODY_LIMIT_BYTES} bytes"
        if self.splitter is None:
            self.body.append(data)
            return ""
        try:
            self.splitter.feed(data, now_ns)
        except EventTooLarge as error:
            return str(error)
        return ""

    @property
    def done(self) -> bool:
        """The stream's own terminator has come."""
        return self.splitter is not None and self.splitter.done

    def said_enough(self, says_text: Callable[[bytes], bool]) -> bool:
        """Enough events with text have come to hang up as planned; what came after the last of them is forgotten."""
        if self.splitter is None:
            return False
        events = self.splitter.events
        while self._looked_at < len(events):
            self._said += says_text(events[self._looked_at])
            self._looked_at += 1
            if self._said >= self.job.hang_up_after_events:
                self.splitter.forget_after(self._looked_at)
                return True
        return False

    def end(self, ending: Ending, now_ns: int, reason: str = "") -> None:
        """It is over; the first end counts."""
        if self.ending is not None:
            return
        if ending is Ending.EOF and self.succeeded and not self.length_known:
            ending = Ending.COMPLETE  # a body that ends where the connection does, as HTTP/1.0 has it
        if self.splitter is not None and ending in (Ending.COMPLETE, Ending.EOF):
            self.splitter.close()
            if self.splitter.done:
                ending = Ending.COMPLETE
            else:
                ending, reason = Ending.EOF, "the stream ended without [DONE]"
        self.ending, self.end_ns, self.reason = ending, now_ns, reason
        for timer in (self.timeout_timer, self.hang_up_timer):
            if timer is not None:
                timer.cancel()
        self.timeout_timer = self.hang_up_timer = None
