"""The kernel's timer as a descriptor that becomes readable: finer than epoll's millisecond. Linux."""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timerfd:
    """A one-shot timer on the monotonic clock. Raises OSError where the kernel refuses.

    Through ctypes, because os.timerfd_create came with Python 3.13 only.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()
        self._spec_pointer = ctypes.byref(self._spec)

    def set(self, when_ns: int) -> None:
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(when_ns, 1), 1_000_000_000)  # 0 would disarm it
        if self._settime(self.fd, _TIMER_ABSTIME, self._spec_pointer, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def rang(self) -> bool:
        """Whether it ran out since it was set; to be asked when it is readable."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:  # set anew between the wake-up and now: it will ring at its new time
            return False
        return True
