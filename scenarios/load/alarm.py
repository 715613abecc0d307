"""An alarm that rings close to a monotonic time: a timerfd where Linux has one, else polling the loop near the end.

asyncio's own timers ride on epoll's millisecond timeout (0.6-0.7 ms late), and uvloop rounds to whole milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from scenarios.load.sockets import NEVER_NS, Sockets
from scenarios.load.timerfd import Timerfd

_POLL_NS = 1_200_000  # from here on the fallback polls the loop instead of sleeping
_SPIN_NS = 100_000  # and from here on it spins: the only time it keeps the loop from its sockets
_EARLY_LEAST_NS, _EARLY_MOST_NS = 60_000, 200_000
_STEP_NS = 1_000
_READ_NS = 30_000  # what one more answer may take: from here on only the time is looked at


class Alarm(Protocol):
    """Calls back once, at or just after the monotonic time it was last set to; a time in the past rings at once."""

    def set(self, when_ns: int) -> None:
        """Ring at `when_ns` of time.monotonic_ns() instead of whenever it was set to before."""

    def close(self) -> None:
        """Never ring again."""


def alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None], sockets: Sockets | None = None) -> Alarm:
    """The most precise alarm this platform has; with `sockets` a sharp one, which takes CPU time to be it."""
    if sys.platform == "linux":
        try:
            return TimerfdAlarm(loop, ring) if sockets is None else SharpAlarm(sockets, ring)
        except OSError:  # a sandbox without timerfd: the portable one is a little dearer, not wrong
            return PollingAlarm(loop, ring)
    return PollingAlarm(loop, ring)


def queued_alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None], sockets: Sockets | None) -> Alarm:
    """An alarm that waits for its turn among the sockets: as late as an answer is read that comes when it is due."""
    if sockets is None:
        return alarm(loop, ring)
    try:
        return TimerfdAlarm(loop, ring, sockets)
    except OSError:
        return PollingAlarm(loop, ring)


class TimerfdAlarm:
    """A timerfd watched like a socket, by the loop or among `sockets`; about 50 us late. Linux."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None], sockets: Sockets | None = None
    ) -> None:
        self._timer: Timerfd | None = Timerfd()
        self._ring = ring
        if sockets is None:
            self._forget: Callable[[int], object] = loop.remove_reader
            loop.add_reader(self._timer.fd, self._readable)
        else:
            self._forget = sockets.forget
            sockets.watch(self._timer.fd, self._readable)

    def set(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.set(when_ns)

    def close(self) -> None:
        if self._timer is not None:
            self._forget(self._timer.fd)
            os.close(self._timer.fd)
            self._timer = None

    def _readable(self) -> None:
        if self._timer is not None and self._timer.rang():
            self._ring()


class SharpAlarm:
    """A timerfd among the sockets, set early by the lateness that this machine shows, the rest spun. Linux.

    While it waits for the last of its time it serves the sockets, and the sockets look at it between two reads.
    """

    def __init__(self, sockets: Sockets, ring: Callable[[], None]) -> None:
        self._timer = Timerfd()
        self._sockets = sockets
        self._ring = ring
        self._early_ns = _EARLY_LEAST_NS
        self._wake_ns = 0
        self._closed = False
        sockets.watch(self._timer.fd, self._readable)
        sockets.ring = self._due

    def set(self, when_ns: int) -> None:
        if not self._closed:
            self._sockets.due_ns = when_ns
            self._wake_ns = max(when_ns - self._early_ns, time.monotonic_ns())
            self._timer.set(self._wake_ns)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._sockets.due_ns = NEVER_NS
            self._sockets.forget(self._timer.fd)
            os.close(self._timer.fd)

    def _readable(self) -> None:
        now_ns = time.monotonic_ns()
        when_ns = self._sockets.due_ns
        if self._closed or not self._timer.rang() or when_ns == NEVER_NS:  # the last: it rang between two reads
            return
        self._learn(now_ns - self._wake_ns)
        while self._sockets.due_ns == when_ns and time.monotonic_ns() < when_ns - _READ_NS:
            self._sockets.look(1)
        while time.monotonic_ns() < when_ns:
            pass
        if self._sockets.due_ns == when_ns:
            self._due()

    def _learn(self, late_ns: int) -> None:
        """Move towards the lateness that nine wake-ups of ten keep to: up by nine steps or down by one."""
        step_ns = 9 * _STEP_NS if late_ns > self._early_ns - _READ_NS else -_STEP_NS
        self._early_ns = min(max(self._early_ns + step_ns, _EARLY_LEAST_NS), _EARLY_MOST_NS)

    def _due(self) -> None:
        self._sockets.due_ns = NEVER_NS
        self._ring()


class PollingAlarm:
    """Sleeps on the loop to about a millisecond before, polls it from there, spins the last tenth. Any platform."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._when_ns = 0
        self._handle: asyncio.Handle | None = None

    def set(self, when_ns: int) -> None:
        self.close()
        self._when_ns = when_ns
        wait_ns = when_ns - time.monotonic_ns() - _POLL_NS
        self._handle = self._loop.call_later(wait_ns / 1e9, self._near) if wait_ns > 0 else self._poll()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _poll(self) -> asyncio.Handle:
        return self._loop.call_soon(self._near)

    def _near(self) -> None:
        if self._when_ns - time.monotonic_ns() > _SPIN_NS:
            self._handle = self._poll()
            return
        while time.monotonic_ns() < self._when_ns:
            pass
        self._handle = None
        self._ring()
