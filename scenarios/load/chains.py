"""Requests that follow others: due so long after those are over, however they ended. Pure; times in ns from t0."""

from __future__ import annotations

import mmap

from scenarios.load.exchange import Job

_INT_BYTES = 8


class Chains:
    """Which jobs wait for which.

    Ends are remembered for the whole run, in pages that a plan without chains never touches: of those that follow a
    request some may be handed over long after it ended.
    """

    def __init__(self, planned: int) -> None:
        self._end_ns = memoryview(mmap.mmap(-1, _INT_BYTES * max(planned, 1))).cast("q")  # 0: not over
        self._waiting: dict[int, list[Job]] = {}

    def __len__(self) -> int:
        """Jobs that wait."""
        return sum(map(len, self._waiting.values()))

    def due_ns(self, job: Job) -> int | None:
        """When a job that was handed over is due; None if it has to wait, and `over` will give it back."""
        if job.after is None:
            return job.due_ns
        end_ns = self._end_ns[job.after]
        if not end_ns:
            self._waiting.setdefault(job.after, []).append(job)
            return None
        return max(job.due_ns, end_ns + job.think_ns)

    def over(self, index: int, end_ns: int) -> list[tuple[Job, int]]:
        """That request is over: the jobs that waited for it, and when they are due."""
        end_ns = self._end_ns[index] = max(end_ns, 1)
        return [(job, max(job.due_ns, end_ns + job.think_ns)) for job in self._waiting.pop(index, ())]

    def stop(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
