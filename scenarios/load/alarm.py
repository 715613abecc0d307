"""An alarm that rings close to a monotonic time: a timerfd where Linux has one, else polling the loop near the end.

asyncio's own timers ride on epoll's millisecond timeout (0.6-0.7 ms late), and uvloop rounds to whole milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_POLL_NS = 1_200_000  # from here on the fallback polls the loop instead of sleeping
_SPIN_NS = 100_000  # and from here on it spins: the only time it keeps the loop from its sockets


class Alarm(Protocol):
    """Calls back once, at or just after the monotonic time it was last set to; a time in the past rings at once."""

    def set(self, when_ns: int) -> None:
        """Ring at `when_ns` of time.monotonic_ns() instead of whenever it was set to before."""

    def close(self) -> None:
        """Never ring again."""


def alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Alarm:
    """The most precise alarm this platform has."""
    if sys.platform == "linux":
        try:
            return TimerfdAlarm(loop, ring)
        except OSError:  # a sandbox without timerfd: the portable one is a little dearer, not wrong
            return PollingAlarm(loop, ring)
    return PollingAlarm(loop, ring)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class TimerfdAlarm:
    """A timerfd on the monotonic clock, watched by the loop like a socket; about 50 us late. Linux.

    Through ctypes, because os.timerfd_create came with Python 3.13 only. Raises OSError where the kernel refuses.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = loop
        self._ring = ring
        self._spec = _Itimerspec()
        self._spec_pointer = ctypes.byref(self._spec)
        loop.add_reader(self._fd, self._readable)

    def set(self, when_ns: int) -> None:
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(when_ns, 1), 1_000_000_000)  # 0 would disarm it
        if self._settime(self._fd, _TIMER_ABSTIME, self._spec_pointer, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set anew between the wake-up and now: it will ring at its new time
            return
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
