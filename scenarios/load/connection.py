"""One HTTP/1.1 connection to the target: it writes an exchange's bytes and stamps what comes back as it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import httptools

from scenarios.load.chunk import says_text
from scenarios.load.exchange import HEAD_LIMIT_BYTES, Ending, Exchange
from scenarios.load.wire import Wire

_DRAIN_S = 1.0  # how long a stream may take to end its HTTP message after [DONE] and still be kept alive
_RAW_CHUNKS = 8
_PORTION_S = 0.05  # a slow reader takes what it reads in so long at a time


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def ended(self, exchange: Exchange) -> None:
        """The exchange has an ending."""

    def freed(self, connection: Connection) -> None:
        """The connection is whole and ready for another exchange."""

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""

    def lost(self, exchange: Exchange, ending: Ending, now_ns: int, reason: str) -> None:
        """The exchange's connection went away before its end: end it or send it again."""


class Connection:
    """Carries one exchange at a time. Everything slow (JSON, bookkeeping) happens elsewhere, later.

    A stream whose reads are whole chunks of one plain event each goes past the parser (`_between_chunks`): the parser
    sees none of a chunk or all of it, so its state stays true. Anything else takes the long way.
    """

    __slots__ = (
        "_between_chunks", "_chunk_over", "_closing", "_complete", "_drain_timer", "_exchange", "_extra", "_head_bytes",
        "_keep_alive", "_now_ns", "_owner", "_parser", "_raw_rest", "_wire", "_wrong",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._wire: Wire | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._closing = False
        self._now_ns = 0
        self._drain_timer: asyncio.TimerHandle | None = None
        self._raw_rest: list[bytes] = []
        self._reset_message()

    def __repr__(self) -> str:
        state = "closed" if self._closing else "idle" if self.idle else "draining" if self._drain_timer else "busy"
        return f"<Connection {state}>"

    @property
    def idle(self) -> bool:
        open_ = self._wire is not None and not self._closing
        return open_ and self._exchange is None and self._drain_timer is None

    def _reset_message(self) -> None:
        self._complete = False
        self._extra = False  # bytes after the end of the message: nothing that follows can be trusted
        self._keep_alive = False
        self._wrong = ""
        self._head_bytes = 0
        self._between_chunks = False
        self._chunk_over = False

    # ---- writing

    def attach(self, wire: Wire) -> None:
        """Speak over `wire`, which is open."""
        self._wire = wire

    def send(self, exchange: Exchange) -> None:
        """Write the exchange's request. The connection must be idle."""
        self._exchange = exchange
        exchange.transport_owner = self
        self._reset_message()
        job = exchange.job
        if job.raw and job.raw_chunks_s > 0:
            size = -(-len(job.wire) // _RAW_CHUNKS)
            self._raw_rest = [job.wire[at : at + size] for at in range(0, len(job.wire), size)]
            first = self._raw_rest.pop(0)
        else:
            first = job.wire
        assert self._wire is not None
        if job.read_bytes_per_s > 0:
            self._wire.read_at_most(max(1, int(job.read_bytes_per_s * _PORTION_S)))
        self._wire.write(first)  # at once if the socket takes it; the stamp is of when the kernel had it
        if exchange.sent_ns is None:  # a second try does not make the first byte later
            exchange.sent_ns = time.monotonic_ns()
        if job.hang_up_after_s > 0:
            exchange.hang_up_timer = self._later(job.hang_up_after_s, self._hang_up)
        if self._raw_rest:
            self._later(job.raw_chunks_s, self._send_next_chunk)

    def _send_next_chunk(self) -> None:
        exchange = self._exchange
        if exchange is None or self._closing or self._wire is None:
            return
        self._wire.write(self._raw_rest.pop(0))
        if self._raw_rest:
            self._later(exchange.job.raw_chunks_s, self._send_next_chunk)

    def _hang_up(self) -> None:
        self._finish(Ending.HUNG_UP, time.monotonic_ns(), "hung up on purpose")

    def _later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, call)

    # ---- reading

    def received(self, data: bytes, now_ns: int) -> None:
        """Bytes that were read at `now_ns`."""
        self._now_ns = now_ns
        exchange = self._exchange
        rest = data
        if self._between_chunks and exchange is not None:
            taken = exchange.take_chunks(data, now_ns)
            rest = data[taken:] if taken else data
        if rest:
            self._feed(rest)
        if exchange is not None and exchange.watched:
            self._behave(exchange, len(data))

    def _behave(self, exchange: Exchange, size: int) -> None:
        """What a client does that reads slowly, or leaves in the middle of an answer."""
        job = exchange.job
        if exchange is self._exchange and job.hang_up_after_events and exchange.said_enough(says_text):
            self._hang_up()
        if job.read_bytes_per_s > 0 and self._wire is not None:
            self._wire.rest(size / job.read_bytes_per_s)

    def _feed(self, data: bytes) -> None:
        exchange = self._exchange
        parser = self._parser
        if parser is None or (exchange is None and self._drain_timer is None):
            self.close()  # an answer to no question
            return
        if exchange is not None:
            exchange.received_bytes += len(data)
            if exchange.status is None:
                self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._stumble(error.__context__ or error)
            return
        except httptools.HttpParserUpgrade:
            self._wrong = self._wrong or "the server switched protocols without being asked"
        except httptools.HttpParserError as error:
            if self._complete:
                self._extra = True
            else:
                self._wrong = self._wrong or f"bad HTTP: {error}"
        # whatever the parser saw last ended here: after CRLF it cannot be inside the size of the next chunk
        self._between_chunks = self._chunk_over and data.endswith(b"\r\n")
        self._after_feed()

    def _after_feed(self) -> None:
        exchange = self._exchange
        if exchange is None:  # draining after [DONE]
            if self._wrong or self._extra:
                self.close()
            elif self._complete:
                self._free()
        elif (self._complete and not self._wrong) or (exchange.done and exchange.job.alone):
            self._finish(Ending.COMPLETE, self._now_ns)
        elif exchange.done:
            self._exchange = None
            exchange.transport_owner = None
            self._drain_timer = self._later(_DRAIN_S, self.close)
            exchange.end(Ending.COMPLETE, self._now_ns)
            self._owner.ended(exchange)
        elif self._wrong:
            self._finish(Ending.BREACH, self._now_ns, self._wrong)
        elif exchange.status is None and self._head_bytes > HEAD_LIMIT_BYTES:
            self._finish(Ending.BREACH, self._now_ns, f"a header block of more than {HEAD_LIMIT_BYTES} bytes")

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra = True

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.status is None:  # later ones are trailers, or of an unasked message
            exchange.take_header(name, value)

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or self._complete or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        self._wrong = exchange.take_head(status)
        self._chunk_over = exchange.chunked
        if exchange.job.head:
            self._complete = True  # the parser would wait for a body that does not come; the connection is not reused

    def on_chunk_header(self) -> None:
        self._chunk_over = False

    def on_chunk_complete(self) -> None:
        self._chunk_over = True

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None or self._complete or self._wrong:
            return
        self._wrong = exchange.take_body(body, self._now_ns)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if self._complete or self._parser is None:
            return
        if exchange is not None and exchange.status is None:
            exchange.clear_head()  # an interim answer
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # ---- endings

    def lost(self, error: Exception | None, now_ns: int) -> None:
        """The wire is closed: by an error, by the other side, or by `close`."""
        self._closing = True
        self._parser = None  # it holds this object's methods: let both go without the garbage collector
        self._stop_draining()
        self._owner.gone(self)
        if error is None:
            self._lose(Ending.EOF, now_ns, "")
        else:
            self._lose(Ending.RESET, now_ns, f"connection lost: {error}")

    def _lose(self, ending: Ending, now_ns: int, reason: str) -> None:
        exchange = self._exchange
        self._exchange = None
        self._raw_rest = []
        self.close()
        if exchange is not None and not exchange.over:
            exchange.transport_owner = None
            self._owner.lost(exchange, ending, now_ns, reason)

    def _stumble(self, error: BaseException) -> None:
        """The harness itself failed: the request keeps its observation, which says so."""
        self._finish(Ending.STOPPED, time.monotonic_ns(), f"the load worker failed: {type(error).__name__}: {error}")

    def abandon(self, ending: Ending, now_ns: int, reason: str) -> None:
        """End the exchange from outside (timeout, stop) and close."""
        self._finish(ending, now_ns, reason)

    def _finish(self, ending: Ending, now_ns: int, reason: str = "") -> None:
        exchange = self._exchange
        if exchange is None:
            return
        self._exchange = None
        self._raw_rest = []
        exchange.transport_owner = None
        exchange.end(ending, now_ns, reason)
        if ending is Ending.COMPLETE and not exchange.job.alone:
            self._free()
        else:
            self.close()
        self._owner.ended(exchange)

    def _free(self) -> None:
        """The message is over: keep the connection if it can be used again."""
        self._stop_draining()
        wire = self._wire
        if wire is None or not self._keep_alive or self._extra or wire.unsent_bytes:
            self.close()
        else:
            self._owner.freed(self)

    def _stop_draining(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None

    def close(self) -> None:
        """Close at once; what was not written yet is dropped."""
        self._stop_draining()
        if not self._closing:
            self._closing = True
            if self._wire is not None:
                self._wire.close()
