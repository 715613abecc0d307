"""Commands from the API process, read on a thread of its own.

So that a client's leaving is known while llama.cpp computes that client's prompt, and can stop it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable

from engine import wire


class Inbox:
    """Calls `news` whenever there is something to `take`."""

    def __init__(self, peer: socket.socket, news: Callable[[], None]) -> None:
        self._peer = peer
        self._news = news
        self._commands: deque[wire.Command] = deque()
        self._lock = threading.Lock()
        self._watched: tuple[int, Callable[[], None]] | None = None
        self.closed = False
        """The other side is gone."""
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)
        self._thread.start()

    def take(self) -> list[wire.Command]:
        """Every command that came since the last call, in order."""
        taken = []
        while self._commands:
            taken.append(self._commands.popleft())
        return taken

    def watch(self, id: int, cancelled: Callable[[], None]) -> None:
        """From now until `unwatch`: call `cancelled`, on whichever thread, when a Cancel of this request is here."""
        with self._lock:
            self._watched = (id, cancelled)
            if any(isinstance(command, wire.Cancel) and command.id == id for command in self._commands):
                cancelled()

    def unwatch(self) -> None:
        """Once this returns, `cancelled` is not called any more."""
        with self._lock:
            self._watched = None

    def close(self) -> None:
        """End the thread. The socket can still be written to."""
        with contextlib.suppress(OSError):  # the other side was quicker
            self._peer.shutdown(socket.SHUT_RD)
        self._thread.join(timeout=1.0)

    def _read(self) -> None:
        unpacker = wire.Unpacker()
        try:
            with contextlib.suppress(ConnectionResetError):  # the same as an end
                while data := self._peer.recv(1 << 20):
                    for body in unpacker.feed(data):
                        self._put(wire.command_decoder.decode(body))
                    self._news()
        finally:
            self.closed = True
            self._news()

    def _put(self, command: wire.Command) -> None:
        with self._lock:
            self._commands.append(command)
            if self._watched is not None and isinstance(command, wire.Cancel) and command.id == self._watched[0]:
                self._watched[1]()
