"""The byte stream under a connection: a plain socket read straight from epoll, or an asyncio transport.

The first is the cheaper and needs epoll; TLS and other platforms take the second.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Protocol, cast

from scenarios.load.sockets import Sockets

_READ_BYTES = 32 << 10
_TRANSPORT_BYTES = 16 << 10  # what a TLS record holds at most


class Receiver(Protocol):
    """Who is handed what a wire reads. Times are time.monotonic_ns(), taken when the read returned."""

    def received(self, data: bytes, now_ns: int) -> None:
        """Bytes, at least one."""

    def lost(self, error: Exception | None, now_ns: int) -> None:
        """The end, once: an error, or None for an end of file or after `close`."""


class Wire(Protocol):
    """A connected, open byte stream."""

    @property
    def unsent_bytes(self) -> int:
        """What was written and waits for the socket to take it."""

    def write(self, data: bytes) -> None:
        """Write at once what the socket takes, the rest when it can. Errors come as `lost`."""

    def read_at_most(self, count: int) -> None:
        """From now on take so many bytes at a time, where that can be chosen."""

    def rest(self, pause_s: float) -> None:
        """Read nothing for so long."""

    def close(self) -> None:
        """Close at once, whatever is unsent; `lost` follows in a later turn of the loop."""


class SocketWire:
    """A plain socket, TCP or Unix: `recv` straight into the receiver."""

    __slots__ = ("_closed", "_count", "_descriptor", "_loop", "_receiver", "_socket", "_sockets", "_timer", "_unsent")

    def __init__(self, sockets: Sockets, connected: socket.socket, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._socket = connected
        self._descriptor = connected.fileno()
        self._receiver = receiver
        self._count = _READ_BYTES
        self._unsent = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        sockets.watch(self._descriptor, self._readable)

    @property
    def unsent_bytes(self) -> int:
        return len(self._unsent)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self._count)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        now_ns = time.monotonic_ns()
        if data:
            self._receiver.received(data, now_ns)
        else:
            self._lose(None)

    def write(self, data: bytes) -> None:
        if self._closed:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._loop.call_soon(self._refused, error)
                return
            if sent == len(data):
                return
            self._loop.add_writer(self._descriptor, self._writable)
        self._unsent += data[sent:]

    def _writable(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._refused(error)
            return
        if not self._unsent:
            self._loop.remove_writer(self._descriptor)

    def _refused(self, error: OSError) -> None:
        """The other side takes no more; what it said before is still there."""
        while not self._closed:
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError:
                break
            if not data:
                break
            self._receiver.received(data, time.monotonic_ns())
        self._lose(error)

    def read_at_most(self, count: int) -> None:
        self._count = count

    def rest(self, pause_s: float) -> None:
        if not self._closed:
            self._sockets.forget(self._descriptor)
            self._timer = self._loop.call_later(pause_s, self._rested)

    def _rested(self) -> None:
        if not self._closed:
            self._sockets.watch(self._descriptor, self._readable)

    def close(self) -> None:
        if not self._closed:
            self._release()
            self._loop.call_soon(self._receiver.lost, None, time.monotonic_ns())

    def _lose(self, error: Exception | None) -> None:
        if not self._closed:
            self._release()
            self._receiver.lost(error, time.monotonic_ns())

    def _release(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._sockets.forget(self._descriptor)
        if self._unsent:
            self._loop.remove_writer(self._descriptor)
        self._socket.close()


class TransportWire(asyncio.BufferedProtocol):
    """An asyncio transport: for TLS, and where there is no epoll.

    It reads into a buffer of its own: a plain Protocol's transport allocates 256 KiB for each read, which malloc may
    take from the kernel and give back each time (15 us).
    """

    __slots__ = ("_buffer", "_receiver", "_timer", "_transport")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = memoryview(bytearray(_TRANSPORT_BYTES))
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        now_ns = time.monotonic_ns()
        self._receiver.received(bytes(self._buffer[:nbytes]), now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._receiver.lost(exc, time.monotonic_ns())

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def read_at_most(self, count: int) -> None:
        """An asyncio transport reads what there is; the pause after it is as much longer."""

    def rest(self, pause_s: float) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._rested)

    def _rested(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
