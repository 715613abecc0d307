"""What one worker has been handed and still owes, kept by the runner; its size is that of the window, not the plan."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from scenarios.arrivals import Ints
from scenarios.load.exchange import Job
from scenarios.observation import Observation, Outcome

_WINDOW_JOBS = 16_384
_WINDOW_BYTES = 32 << 20


class HowItEnded(Enum):
    """Why a worker reports no more, as the observations it leaves to the runner say it."""

    STOPPED = "the run was stopped before this was sent"
    DIED = "load worker died"
    LOST = "the load worker lost this request"


class _Handed(NamedTuple):
    size: int  # bytes
    follows: bool  # it waits for another first


class Ledger:
    """Requests by index, from being handed to the worker to their observation: first waiting, then begun."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Handed] = {}
        self._sent_ns: dict[int, int | None] = {}  # of what was begun; None: tried, but never written yet
        self._waiting_bytes = 0
        self._handed = 0
        self._handed_bytes = 0

    @property
    def room(self) -> int:
        """About how many more the worker may hold before it has begun them; at least 1 when it has nothing to do."""
        if not self._waiting:
            return _WINDOW_JOBS
        mean_bytes = max(1, self._handed_bytes // self._handed)
        return min(_WINDOW_JOBS - len(self._waiting), (_WINDOW_BYTES - self._waiting_bytes) // mean_bytes)

    def hand(self, job: Job) -> None:
        size = len(job.wire)
        self._waiting[job.index] = _Handed(size, job.after is not None)
        self._waiting_bytes += size
        self._handed += 1
        self._handed_bytes += size

    def begun(self, index: int) -> None:
        """It was tried."""
        if (handed := self._waiting.pop(index, None)) is not None:
            self._waiting_bytes -= handed.size
            self._sent_ns[index] = None

    def sent(self, index: int, sent_ns: int) -> None:
        """It was written."""
        self.begun(index)
        if index in self._sent_ns:
            self._sent_ns[index] = sent_ns

    def over(self, index: int) -> bool:
        """It has its observation; False if it had one already, or was never handed over."""
        if index in self._sent_ns:
            del self._sent_ns[index]
            return True
        handed = self._waiting.pop(index, None)
        if handed is not None:
            self._waiting_bytes -= handed.size
        return handed is not None

    def owed(
        self, worker: int, never_handed: Iterator[int], due_ns: Ints, how: HowItEnded, now_ns: int | None
    ) -> Iterator[Observation]:
        """The observations that worker number `worker` will not send any more; `now_ns` is None before the start."""

        def observation(index: int, begun: bool, sent_ns: int | None = None) -> Observation:
            return Observation(
                index=index,
                due_ns=int(due_ns[index]),
                outcome=Outcome.CANCELLED if begun else Outcome.UNSENT,
                end_ns=now_ns or 0,
                sent_ns=sent_ns,
                error=how.value,
                worker=worker,
            )

        for index, sent_ns in self._sent_ns.items():
            yield observation(index, True, sent_ns)
        for index, handed in self._waiting.items():
            # what came due since its last report was most likely on the wire; only the worker knew
            late = now_ns is not None and not handed.follows and due_ns[index] <= now_ns
            yield observation(index, late and how is HowItEnded.DIED)
        for index in never_handed:
            yield observation(index, False)
