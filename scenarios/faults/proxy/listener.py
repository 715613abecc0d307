"""The port that clients connect to. It can refuse them for a while, and always gets the same port back."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from scenarios.faults.proxy.loop import READ, Alarm, Loop

_AT_ONCE = 64
_BACKLOG = 1024
_AGAIN_NS = 50_000_000


class Listener:
    """Listens on 127.0.0.1, on a free port.

    A second socket, bound there and never listening, keeps the port ours while nobody listens. Raises OSError where
    there is no port.
    """

    def __init__(self, loop: Loop, accepted: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._accepted = accepted
        self._again: Alarm | None = None
        self._keeper = _bound(0)
        self.port: int = self._keeper.getsockname()[1]
        self._socket: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Take connections; where the port cannot be had just now, as soon as it can."""
        if self._socket is not None:
            return
        try:
            new = _bound(self.port)
        except OSError:
            self._again = self._loop.at(self._loop.now_ns + _AGAIN_NS, self.open)
            return
        try:
            new.listen(_BACKLOG)
        except OSError:
            new.close()
            self._again = self._loop.at(self._loop.now_ns + _AGAIN_NS, self.open)
            return
        self._socket = new
        self._loop.watch(new.fileno(), READ, self._ready)

    def refuse(self) -> None:
        """From now on connections are refused, those included that were not taken yet."""
        if self._again is not None:
            self._again.cancel()
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self.refuse()
        self._keeper.close()

    def _ready(self, _: int) -> None:
        assert self._socket is not None
        for _turn in range(_AT_ONCE):
            try:
                new, _peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor left: those who wait are taken when there is one
                self._loop.forget(self._socket.fileno())
                self._again = self._loop.at(self._loop.now_ns + _AGAIN_NS, self._listen_again)
                return
            new.setblocking(False)
            with contextlib.suppress(OSError):
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(new)
            if self._socket is None:
                return

    def _listen_again(self) -> None:
        if self._socket is not None:
            self._loop.watch(self._socket.fileno(), READ, self._ready)


def _bound(port: int) -> socket.socket:
    new = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        new.bind(("127.0.0.1", port))
    except OSError:
        new.close()
        raise
    return new
