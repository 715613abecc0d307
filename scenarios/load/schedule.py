"""Sending on time: jobs in due order, an alarm set to the next one, what is due handed over when it rings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from scenarios.load.alarm import alarm
from scenarios.load.exchange import Job
from scenarios.load.sockets import Sockets

_BURST = 32  # jobs handed over before the sockets get a turn


class Schedule:
    """Hands each job to `send(job, due_ns)`, due in monotonic ns, when it is due; never early, never dropped."""

    def __init__(self, jobs: Iterable[Job], send: Callable[[Job, int], None], sockets: Sockets | None = None) -> None:
        self._jobs = sorted(jobs, key=lambda job: (job.due_ns, job.index), reverse=True)  # popped: memory goes with it
        self._send = send
        self._t0_ns = 0
        self._alarm = alarm(asyncio.get_running_loop(), self._ring, sockets)

    def __len__(self) -> int:
        """Jobs not handed over yet."""
        return len(self._jobs)

    def start(self, t0_ns: int) -> None:
        """Due times count from `t0_ns` of the monotonic clock."""
        self._t0_ns = t0_ns
        if self._jobs:
            self._alarm.set(t0_ns + self._jobs[-1].due_ns)

    def stop(self) -> list[Job]:
        """Hand over nothing more; returns what was left."""
        self._alarm.close()
        left, self._jobs = self._jobs[::-1], []
        return left

    def _ring(self) -> None:
        jobs = self._jobs
        for _ in range(_BURST):
            if not jobs:
                return
            due_ns = self._t0_ns + jobs[-1].due_ns
            if due_ns > time.monotonic_ns():
                break
            self._send(jobs.pop(), due_ns)
        if jobs:
            self._alarm.set(self._t0_ns + jobs[-1].due_ns)
