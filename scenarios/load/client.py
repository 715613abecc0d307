"""Keep-alive connections to one target, and the exchanges on them. Callbacks all the way: no task per request."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable

from scenarios.load.connection import Connection
from scenarios.load.dial import Dialer
from scenarios.load.exchange import Ending, Exchange, Job
from scenarios.load.lag import LagHistogram
from scenarios.load.sockets import sockets
from scenarios.load.target import Target
from scenarios.load.wire import SocketWire, TransportWire

_STALE_NS = 1_000_000_000
_SLOW_BUFFER_BYTES = 4096  # of a client that reads slowly: the kernel takes little ahead for it
_OUR_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Client:
    """Sends jobs; each ends in exactly one call of `on_end`, `on_sent` comes before it if anything was written.

    A request that was written to a kept-alive connection which closes within a second without a byte of answer is
    sent once more on a fresh one: the server had closed it already. Later than that it is a reset: a second try would
    hide it.
    `send_lag` counts how late the harness acted (wrote, or began to connect), not how long the target took to accept.
    """

    def __init__(
        self,
        target: Target,
        connections: int,
        on_sent: Callable[[Exchange], None],
        on_end: Callable[[Exchange], None],
    ) -> None:
        self.send_lag = LagHistogram()
        self._loop = asyncio.get_running_loop()
        self.sockets = sockets(self._loop)
        self._target = target
        self._dialer = Dialer(target)
        self._limit = connections
        self._on_sent = on_sent
        self._on_end = on_end
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # in order of last use: the newest is taken first
        self._connecting = 0
        self._waiting: deque[Exchange] = deque()
        self._live: set[Exchange] = set()

    def __repr__(self) -> str:
        return (
            f"<Client open={len(self._open)} idle={len(self._idle)} connecting={self._connecting} "
            f"waiting={len(self._waiting)} live={len(self._live)}>"
        )

    @property
    def in_flight(self) -> int:
        return len(self._live)

    def send(self, job: Job, due_ns: int) -> None:
        """Send `job`, due at `due_ns` of the monotonic clock, now."""
        exchange = Exchange(job, due_ns)
        self._live.add(exchange)
        if job.defect:
            self._end(exchange, Ending.UNSENT, job.defect)
            return
        try:
            left_s = job.timeout_s - (time.monotonic_ns() - due_ns) / 1e9
            exchange.timeout_timer = self._loop.call_later(max(0.0, left_s), self._time_out, exchange)
            exchange.fresh = job.alone
            self._dispatch(exchange)
        except Exception as error:  # noqa: BLE001 - the request keeps its observation
            self._stumble(exchange, error)

    def drop_unsent(self, reason: str) -> None:
        """End every exchange of which nothing was written yet; `on_end` comes for each before this returns."""
        for exchange in [one for one in self._live if one.sent_ns is None]:
            self._withdraw(exchange, Ending.UNSENT, reason)

    def stop(self, reason: str) -> None:
        """End every exchange now; `on_end` comes for each before this returns."""
        self.drop_unsent(reason)
        for exchange in list(self._live):
            self._withdraw(exchange, Ending.STOPPED, reason)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.close()
        if self.sockets is not None:
            self.sockets.close()

    # ---- deciding where an exchange goes

    def _dispatch(self, exchange: Exchange, waited: bool = False) -> None:
        """`waited`: if it must wait on, it keeps its place before all others."""
        while self._idle and not exchange.fresh:
            connection, _ = self._idle.popitem()
            if connection.idle:
                self._write(connection, exchange)
                if not exchange.retried:
                    self.send_lag.add((exchange.sent_ns or time.monotonic_ns()) - exchange.due_ns)
                return
        if len(self._open) + self._connecting >= self._limit and not self._drop_an_idle_one():
            (self._waiting.appendleft if waited else self._waiting.append)(exchange)
            return
        if not exchange.retried:
            self.send_lag.add(time.monotonic_ns() - exchange.due_ns)
        self._connecting += 1
        exchange.connecting = self._loop.create_task(self._open_one(exchange.job))
        exchange.connecting.add_done_callback(functools.partial(self._opened, exchange))

    def _drop_an_idle_one(self) -> bool:
        """Make room for a request that needs a fresh connection."""
        if not self._idle:
            return False
        connection, _ = self._idle.popitem()
        self._open.discard(connection)
        connection.close()
        return True

    def _write(self, connection: Connection, exchange: Exchange) -> None:
        first = exchange.sent_ns is None
        try:
            connection.send(exchange)
        except Exception as error:  # noqa: BLE001 - the request keeps its observation
            self._stumble(exchange, error)
        if first and exchange.sent_ns is not None:
            self._on_sent(exchange)

    def _next_waiting(self) -> None:
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.over:
                self._dispatch(exchange, waited=True)
                return

    def _opened(self, exchange: Exchange, task: asyncio.Task[Connection]) -> None:
        self._connecting -= 1
        exchange.connecting = None
        if task.cancelled():
            self._next_waiting()
        elif (error := task.exception()) is not None:
            ours = not isinstance(error, OSError) or error.errno in _OUR_LIMITS
            self._end(exchange, Ending.UNSENT if ours else Ending.REFUSED, f"connect: {_said(error)}")
            self._next_waiting()
        else:
            connection = task.result()
            if not connection.idle:  # another callback of this turn of the loop read its end, and `gone` was told
                if not exchange.over:
                    self._end(exchange, Ending.RESET, "closed as soon as it was open")
                self._next_waiting()
                return
            self._open.add(connection)
            exchange.fresh = True
            if exchange.over and exchange.job.alone:
                connection.close()
            elif exchange.over:
                self.freed(connection)
            else:
                self._write(connection, exchange)

    async def _open_one(self, job: Job) -> Connection:
        """A connection to the target, its TLS agreed on. Raises OSError."""
        connected = await self._dialer.dial()
        if job.read_bytes_per_s > 0:  # else the kernel would read for us
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        tls = self._target.tls
        connection = Connection(self)
        if tls is None and self.sockets is not None:
            connection.attach(SocketWire(self.sockets, connected, connection))
        else:
            host = self._target.address.host if tls else None
            _, wire = await self._loop.create_connection(
                lambda: TransportWire(connection), sock=connected, ssl=tls, server_hostname=host
            )
            connection.attach(wire)
        return connection

    # ---- what connections report

    def ended(self, exchange: Exchange) -> None:
        self._report(exchange)

    def freed(self, connection: Connection) -> None:
        self._idle[connection] = None
        self._next_waiting()

    def gone(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)
        self._next_waiting()

    def lost(self, exchange: Exchange, ending: Ending, now_ns: int, reason: str) -> None:
        written_ns = now_ns if exchange.sent_ns is None else exchange.sent_ns
        stale = not exchange.fresh and not exchange.received_bytes and now_ns - written_ns < _STALE_NS
        if stale and not exchange.retried and not exchange.job.raw:
            exchange.retried = exchange.fresh = True
            self._cancel_hang_up(exchange)
            self._dispatch(exchange)
            return
        exchange.end(ending, now_ns, reason)
        self._report(exchange)

    # ---- endings

    def _time_out(self, exchange: Exchange) -> None:
        if exchange.sent_ns is not None:
            reason = f"no end of the answer within {exchange.job.timeout_s:g} s"
        elif exchange.connecting is not None:
            reason = f"no connection within {exchange.job.timeout_s:g} s"
        else:
            reason = f"none of {self._limit} connections came free within {exchange.job.timeout_s:g} s"
            self._withdraw(exchange, Ending.UNSENT, reason)
            return
        self._withdraw(exchange, Ending.TIMEOUT, reason)

    def _withdraw(self, exchange: Exchange, ending: Ending, reason: str) -> None:
        connection = exchange.transport_owner
        if isinstance(connection, Connection):
            connection.abandon(ending, time.monotonic_ns(), reason)
            return
        if exchange.connecting is not None:
            exchange.connecting.cancel()
            exchange.connecting = None
        self._end(exchange, ending, reason)

    def _stumble(self, exchange: Exchange, error: Exception) -> None:
        """The harness itself failed on this request: end it with that."""
        reason = f"the load worker failed: {type(error).__name__}: {error}"
        self._withdraw(exchange, Ending.STOPPED if exchange.sent_ns is not None else Ending.UNSENT, reason)

    def _end(self, exchange: Exchange, ending: Ending, reason: str) -> None:
        exchange.end(ending, time.monotonic_ns(), reason)
        self._report(exchange)

    def _report(self, exchange: Exchange) -> None:
        if exchange in self._live:
            self._live.discard(exchange)
            self._on_end(exchange)

    def _cancel_hang_up(self, exchange: Exchange) -> None:
        if exchange.hang_up_timer is not None:
            exchange.hang_up_timer.cancel()
            exchange.hang_up_timer = None


def _said(error: BaseException) -> str:
    """What the system says of a failed connect; asyncio's own text for it leaves out the reason."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
