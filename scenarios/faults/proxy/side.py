"""One socket of a connection that is carried: what the loop waits for on it, and how it is ended."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from scenarios.faults.proxy.loop import READ, WRITE, Loop

BLOCKED = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_LINGER_NONE = struct.pack("ii", 1, 0)


class Side:
    """The client's or the target's socket, plain or TLS. Nothing is waited for until it is asked for."""

    __slots__ = ("_fd", "_loop", "_mask", "call", "closed", "socket", "tls")

    def __init__(self, loop: Loop, connected: socket.socket, call: Callable[[int], None]) -> None:
        self._loop = loop
        self.call = call  # may be another one whenever nothing is waited for
        self._mask = 0
        self._fd = connected.fileno()
        self.socket = connected
        self.tls: ssl.SSLSocket | None = None
        self.closed = False

    @property
    def reading(self) -> bool:
        return bool(self._mask & READ)

    def secure(self, context: ssl.SSLContext, host: str | None) -> None:
        """Speak TLS from now on: as a client of `host`, or as a server where that is None.

        Nothing may be waited for meanwhile.
        """
        self.tls = context.wrap_socket(
            self.socket, server_side=host is None, server_hostname=host, do_handshake_on_connect=False
        )
        self.socket = self.tls
        self._fd = self.tls.fileno()

    def wait(self, mask: int) -> None:
        """Wait for just these events from now on."""
        if mask == self._mask or self.closed:
            return
        if not mask:
            self._loop.forget(self._fd)
        elif self._mask:
            self._loop.change(self._fd, mask)
        else:
            self._loop.watch(self._fd, mask, self.call)
        self._mask = mask

    def read_on(self, yes: bool) -> None:
        self.wait(self._mask | READ if yes else self._mask & ~READ)

    def write_on(self, yes: bool) -> None:
        self.wait(self._mask | WRITE if yes else self._mask & ~WRITE)

    def end_writing(self) -> None:
        """FIN, after TLS's own goodbye; reading goes on."""
        with contextlib.suppress(OSError):  # it is gone already
            if self.tls is not None:
                with contextlib.suppress(*BLOCKED, ValueError):
                    self.tls.unwrap()
            socket.socket.shutdown(self.socket, socket.SHUT_WR)  # SSLSocket's own would end reading too

    def close(self, reset: bool = False) -> None:
        """Close at once, with RST where asked for."""
        if self.closed:
            return
        self.wait(0)
        self.closed = True
        if reset:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._loop.bury(self.socket)
