"""What a load worker knows about its own process: when its loop stood still, and what kept it from its CPU."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from scenarios.load.alarm import queued_alarm
from scenarios.load.lag import LagHistogram
from scenarios.load.sockets import Sockets

BEAT_S = 0.005
_BEAT_NS = int(BEAT_S * 1e9)
_FRESH_NS = 50_000_000  # asking the kernel costs some 20 us: not for every report of a busy worker
_SCHEDSTAT = Path("/proc/self/schedstat")
_N = TypeVar("_N", int, float)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The worker since its start signal. Seconds; None where the platform does not tell.

    run_wait_s: ready to run, but waiting for a CPU that others had (a stolen core, most quotas). gc_s: in Python's
    garbage collector, during which nothing is sent or stamped. preempted: times it was taken off its CPU.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    longest_s: float = 0.0  # the longest time its loop stood still
    longest_at_s: float = 0.0  # and when that ended, from the start signal
    run_wait_s: float | None = None
    gc_s: float = 0.0
    gc_longest_s: float = 0.0
    preempted: int | None = None
    major_faults: int | None = None  # pages fetched from disk: memory was short


class SelfWatch:
    """A heartbeat among the worker's sockets, and the kernel's and the collector's counts around it.

    Each beat is set `BEAT_S` after the one before; its lateness goes into `lag`. It waits for its turn like an answer
    that comes just then: behind a loop that stands still, behind sends, behind the answers that came before it. A loop
    that stands still for S while nothing else is wrong is seen as a lag between S - BEAT_S and S.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: Sockets | None = None) -> None:
        self.lag = LagHistogram()
        self._alarm = queued_alarm(loop, self._beat, sockets)
        self._due_ns = 0
        self._begun_ns = 0
        self._longest_ns = self._longest_at_ns = 0
        self._closed = False
        self._asked_ns = 0
        self._health = Health()
        self._gc_begun_ns = self._gc_ns = self._gc_longest_ns = 0
        self._cpu_s = 0.0
        self._run_wait_s: float | None = None
        self._preempted: int | None = None
        self._major_faults: int | None = None

    def start(self) -> None:
        """From here on everything counts."""
        self._begun_ns = time.monotonic_ns()
        self._cpu_s, self._run_wait_s = time.process_time(), _run_wait_s()
        self._preempted, self._major_faults = _switches_and_faults()
        gc.callbacks.append(self._collecting)
        self._due_ns = self._begun_ns + _BEAT_NS
        self._alarm.set(self._due_ns)

    def close(self) -> None:
        """The last beat; one that is overdue still counts."""
        self._alarm.close()
        if self._begun_ns and not self._closed:
            now_ns = time.monotonic_ns()
            self._count(now_ns)
            self._health = self._ask(now_ns)
            gc.callbacks.remove(self._collecting)
        self._closed = True

    def health(self) -> Health:
        """Everything since the start, at most `_FRESH_NS` old until it is closed; nothing before it."""
        now_ns = time.monotonic_ns()
        if self._begun_ns and not self._closed and now_ns - self._asked_ns >= _FRESH_NS:
            self._asked_ns = now_ns
            self._health = self._ask(now_ns)
        return self._health

    def _ask(self, now_ns: int) -> Health:
        preempted, major_faults = _switches_and_faults()
        return Health(
            wall_s=(now_ns - self._begun_ns) / 1e9,
            cpu_s=time.process_time() - self._cpu_s,
            longest_s=self._longest_ns / 1e9,
            longest_at_s=self._longest_at_ns / 1e9,
            run_wait_s=_since(self._run_wait_s, _run_wait_s()),
            gc_s=self._gc_ns / 1e9,
            gc_longest_s=self._gc_longest_ns / 1e9,
            preempted=_since(self._preempted, preempted),
            major_faults=_since(self._major_faults, major_faults),
        )

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        self._count(now_ns)
        self._due_ns = now_ns + _BEAT_NS
        self._alarm.set(self._due_ns)

    def _count(self, now_ns: int) -> None:
        late_ns = max(0, now_ns - self._due_ns)
        self.lag.add(late_ns)
        if late_ns > self._longest_ns:
            self._longest_ns, self._longest_at_ns = late_ns, now_ns - self._begun_ns

    def _collecting(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._gc_begun_ns = time.monotonic_ns()
        elif self._gc_begun_ns:
            took_ns = time.monotonic_ns() - self._gc_begun_ns
            self._gc_ns += took_ns
            self._gc_longest_ns = max(self._gc_longest_ns, took_ns)


def _since(then: _N | None, now: _N | None) -> _N | None:
    return None if then is None or now is None else now - then


def _run_wait_s() -> float | None:
    """Seconds that the main thread was ready and had no CPU (the second number of Linux's schedstat)."""
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # not Linux, or a kernel without CONFIG_SCHED_INFO
        return None


def _switches_and_faults() -> tuple[int | None, int | None]:
    if os.name != "posix":
        return None, None
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_majflt
