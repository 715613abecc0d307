"""A loop of sockets and times on epoll, one thread and no tasks: what the proxy's data path is made of. Linux."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import socket
import time
from collections.abc import Callable

from scenarios.load.timerfd import Timerfd

NEVER_NS = 1 << 62
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_AT_ONCE = 256


class Alarm:
    """A call that will be made at a time, unless it is cancelled."""

    __slots__ = ("call", "when_ns")

    def __init__(self, when_ns: int, call: Callable[[], None]) -> None:
        self.when_ns = when_ns
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back what is ready and what is due. `now_ns` is the monotonic time at which this turn began.

    epoll's own timeout counts milliseconds; a timerfd among the sockets wakes it within some 50 us of a time.
    """

    def __init__(self) -> None:
        self.now_ns = time.monotonic_ns()
        self._poller = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._alarms: list[tuple[int, int, Alarm]] = []
        self._order = itertools.count()
        self._timer = Timerfd()
        self._armed_ns = NEVER_NS
        self._graves: list[socket.socket] = []
        self._running = False
        self.watch(self._timer.fd, READ, self._rung)

    def watch(self, descriptor: int, mask: int, call: Callable[[int], None]) -> None:
        """Call with the events whenever there are any of `mask`, or an error or hang-up."""
        self._calls[descriptor] = call
        self._poller.register(descriptor, mask)

    def change(self, descriptor: int, mask: int) -> None:
        """From now on wait for `mask` there."""
        self._poller.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Call it back no more."""
        if self._calls.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def bury(self, dead: socket.socket) -> None:
        """Close it at the end of this turn: until then no other socket gets its number, nor its events."""
        self._graves.append(dead)

    def at(self, when_ns: int, call: Callable[[], None]) -> Alarm:
        """Call once at `when_ns`, or in the next turn where that is past."""
        alarm = Alarm(when_ns, call)
        heapq.heappush(self._alarms, (when_ns, next(self._order), alarm))
        return alarm

    def stop(self) -> None:
        """Return from `run` at the end of this turn."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        calls, poll, clock = self._calls, self._poller.poll, time.monotonic_ns
        while self._running:
            self._arm()
            ready = poll(None, _AT_ONCE)
            self.now_ns = clock()
            for descriptor, events in ready:
                call = calls.get(descriptor)
                if call is not None:  # none: forgotten by a call just now
                    call(events)
            alarms = self._alarms
            if alarms and alarms[0][0] <= self.now_ns:
                self._ring(alarms)
            if self._graves:
                for dead in self._graves:
                    dead.close()
                self._graves.clear()

    def close(self) -> None:
        self._poller.close()
        os.close(self._timer.fd)

    def _ring(self, alarms: list[tuple[int, int, Alarm]]) -> None:
        """Make the calls that are due; those that they ask for come in the next turn."""
        due: list[Alarm] = []
        while alarms and alarms[0][0] <= self.now_ns:
            due.append(heapq.heappop(alarms)[2])
        for alarm in due:
            call, alarm.call = alarm.call, None
            if call is not None:
                call()

    def _arm(self) -> None:
        alarms = self._alarms
        while alarms and alarms[0][2].call is None:
            heapq.heappop(alarms)
        if alarms and alarms[0][0] != self._armed_ns:
            self._armed_ns = alarms[0][0]
            self._timer.set(self._armed_ns)

    def _rung(self, _: int) -> None:
        if self._timer.rang():
            self._armed_ns = NEVER_NS
