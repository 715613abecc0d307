"""The requests the API process has open: admission within a bound, and a mailbox for each."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

from engine.errors import Overloaded
from engine.wire import Output

RATE_WINDOW_S = 30.0


@dataclass(slots=True, eq=False)
class Ticket:
    """One open request. `next` waits for what the decode process says about it."""

    id: int
    received_ns: int
    admitted_ns: int = 0
    prompt_tokens: int = 0
    finished: bool = False
    mailbox: deque[Output] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, output: Output) -> None:
        """Add an output and wake the reader."""
        self.mailbox.append(output)
        self.finished = self.finished or bool(output.finish)
        self.changed.set()

    def take(self) -> list[Output]:
        """Everything in the mailbox."""
        self.changed.clear()
        taken = list(self.mailbox)
        self.mailbox.clear()
        return taken


class Tickets:
    """At most slots + queue_limit unfinished requests. A finished one stays open until its answer is delivered."""

    def __init__(self, slots: int, queue_limit: int) -> None:
        self.slots = slots
        self.queue_limit = queue_limit
        self.open: dict[int, Ticket] = {}
        self._next_id = 1
        self._ends: deque[float] = deque(maxlen=256)
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self.open)

    @property
    def running(self) -> int:
        return sum(1 for ticket in self.open.values() if ticket.admitted_ns and not ticket.finished)

    @property
    def waiting(self) -> int:
        return sum(1 for ticket in self.open.values() if not ticket.admitted_ns and not ticket.finished)

    def issue(self, now_ns: int) -> Ticket:
        """Admit one more request, or raise Overloaded with the seconds until a place should be free."""
        if self.running + self.waiting >= self.slots + self.queue_limit:
            raise Overloaded(self.waiting, self.retry_after_s(now_ns / 1e9))
        ticket = Ticket(self._next_id, now_ns)
        self._next_id += 1
        self.open[ticket.id] = ticket
        self._empty.clear()
        return ticket

    def close(self, id: int, now_s: float) -> None:
        """A request left; its end counts into the service rate."""
        if self.open.pop(id, None) is not None:
            self._ends.append(now_s)
        if not self.open:
            self._empty.set()

    async def drained(self) -> None:
        """Wait until no request is open."""
        await self._empty.wait()

    def retry_after_s(self, now_s: float) -> int:
        """Whole seconds until the queue has probably moved up by half of its length, 1 to 60, by the rate of late."""
        recent = [end for end in self._ends if now_s - end <= RATE_WINDOW_S]
        if len(recent) < 2:
            return 1
        rate = len(recent) / max(now_s - recent[0], 0.1)
        return max(1, min(60, math.ceil((1 + self.waiting / 2) / rate)))
