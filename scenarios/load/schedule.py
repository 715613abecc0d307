"""Sending on time: jobs in due order, an alarm set to the next one, what is due handed over when it rings."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

from scenarios.load.alarm import alarm
from scenarios.load.exchange import Job
from scenarios.load.sockets import Sockets

_BURST = 32  # jobs handed over before the sockets get a turn


class Schedule:
    """Hands each job to `send(job, due_ns)`, due in monotonic ns, when it is due; never early, never dropped."""

    def __init__(self, send: Callable[[Job, int], None], sockets: Sockets | None = None) -> None:
        self._jobs: list[tuple[int, int, Job]] = []  # a heap of (due, index, job), due from t0
        self._send = send
        self._t0_ns: int | None = None
        self._alarm = alarm(asyncio.get_running_loop(), self._ring, sockets)

    def __len__(self) -> int:
        """Jobs not handed over yet."""
        return len(self._jobs)

    def add(self, job: Job, due_ns: int) -> None:
        """One more, due at `due_ns` from the start; at once where that has gone by."""
        heapq.heappush(self._jobs, (due_ns, job.index, job))
        if self._t0_ns is not None and self._jobs[0][2] is job:
            self._alarm.set(self._t0_ns + due_ns)

    def start(self, t0_ns: int) -> None:
        """Due times count from `t0_ns` of the monotonic clock."""
        self._t0_ns = t0_ns
        if self._jobs:
            self._alarm.set(t0_ns + self._jobs[0][0])

    def stop(self) -> list[Job]:
        """Hand over nothing more; returns what was left, in due order."""
        self._alarm.close()
        self._t0_ns = None
        left, self._jobs = [job for _, _, job in sorted(self._jobs)], []
        return left

    def _ring(self) -> None:
        if self._t0_ns is None:
            return
        for _ in range(_BURST):
            if not self._jobs:
                return
            due_ns = self._t0_ns + self._jobs[0][0]
            if due_ns > time.monotonic_ns():
                break
            self._send(heapq.heappop(self._jobs)[2], due_ns)
        if self._jobs and self._t0_ns is not None:
            self._alarm.set(self._t0_ns + self._jobs[0][0])
