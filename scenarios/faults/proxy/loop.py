"""The proxy's one thread: sockets by epoll, and moments to the tenth of a millisecond."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

_SOON_NS = 2_500_000  # epoll waits in whole milliseconds; for what is nearer, select does in microseconds
_MOST_NS = 1_000_000_000

Ready = Callable[[int], None]
"""Called with the epoll events of a descriptor."""


class Loop:
    """Calls back what is ready and what is due, until it is stopped."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._calls: dict[int, Ready] = {}
        self._masks: dict[int, int] = {}
        self._moments: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._stopped = False

    def watch(self, descriptor: int, mask: int, ready: Ready) -> None:
        """Call `ready` for these events; with a mask of 0 for none, errors included."""
        if mask == self._masks.get(descriptor, 0):
            return
        if descriptor not in self._masks:
            self._poller.register(descriptor, mask)
        elif mask:
            self._poller.modify(descriptor, mask)
        else:
            self.forget(descriptor)
            return
        self._calls[descriptor], self._masks[descriptor] = ready, mask

    def forget(self, descriptor: int) -> None:
        """Call it back no more; before it is closed."""
        if self._masks.pop(descriptor, None) is not None:
            del self._calls[descriptor]
            self._poller.unregister(descriptor)

    def at(self, due_ns: int, call: Callable[[], None]) -> None:
        """Call it then."""
        heapq.heappush(self._moments, (due_ns, next(self._numbers), call))

    def stop(self) -> None:
        """Return from `run`."""
        self._stopped = True

    def run(self) -> None:
        """Until it is stopped."""
        while not self._stopped:
            for descriptor, events in self._wait():
                call = self._calls.get(descriptor)
                if call is not None:
                    call(events)
            now_ns = time.monotonic_ns()
            while self._moments and self._moments[0][0] <= now_ns:
                heapq.heappop(self._moments)[2]()

    def _wait(self) -> list[tuple[int, int]]:
        if not self._moments:
            return self._poller.poll(_MOST_NS / 1e9)
        left_ns = self._moments[0][0] - time.monotonic_ns()
        if left_ns <= 0:
            return self._poller.poll(0)
        if left_ns > _SOON_NS:
            return self._poller.poll(min(left_ns - _SOON_NS // 2, _MOST_NS) / 1e9)
        select.select([self._poller.fileno()], [], [], left_ns / 1e9)
        return self._poller.poll(0)
