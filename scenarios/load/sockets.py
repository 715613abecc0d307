"""Every plain socket of a worker in one epoll object, which the loop watches like a single socket. Linux."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable

_AT_ONCE = 64  # sockets of one look
_TURN_NS = 300_000  # after this the loop's timers and tasks get their turn
_LEAST_NS = 30_000
NEVER_NS = 1 << 62


class Sockets:
    """Calls back what is ready to be read. One callback of the loop serves all of them, without a Handle for each.

    `due_ns` and `ring` are an alarm's: it is looked at between two sockets, so that a burst of answers does not make a
    send late. A turn goes on until nothing is ready, or for 0.3 ms.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.due_ns = NEVER_NS
        self.ring: Callable[[], None] = lambda: None
        self._loop = loop
        self._poller = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._poller.fileno(), self._turn)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` whenever there is something to read, or an end or error to be read."""
        self._calls[descriptor] = readable
        self._poller.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Call it back no more; before it is closed."""
        if self._calls.pop(descriptor, None) is not None and not self._poller.closed:
            self._poller.unregister(descriptor)

    def spare_ns(self, at_most_ns: int) -> int:
        """How long something else may take now: until just before the alarm, at least a little."""
        return max(_LEAST_NS, min(at_most_ns, self.due_ns - time.monotonic_ns() - _LEAST_NS))

    def close(self) -> None:
        """Call back nothing any more."""
        self._loop.remove_reader(self._poller.fileno())
        self._poller.close()

    def look(self, at_most: int = _AT_ONCE) -> bool:
        """Serve up to `at_most` sockets that are ready now; whether there was one."""
        ready = self._poller.poll(0, at_most)
        for descriptor, _ in ready:
            call = self._calls.get(descriptor)
            if call is not None:  # none: closed by the call of another one just now
                call()
            if time.monotonic_ns() >= self.due_ns:
                self.ring()
        return bool(ready)

    def _turn(self) -> None:
        until_ns = time.monotonic_ns() + _TURN_NS
        while self.look() and time.monotonic_ns() < until_ns:
            pass


def sockets(loop: asyncio.AbstractEventLoop) -> Sockets | None:
    """None where the platform has no epoll."""
    return Sockets(loop) if hasattr(select, "epoll") else None
