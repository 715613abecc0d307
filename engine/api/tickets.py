"""The requests the API process has open: admission within bounds, and a mailbox for each."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field

from engine.api.admission import Load, Verdict, decide
from engine.errors import Overloaded
from engine.wire import Admitted, Output

RATE_WINDOW_S = 30.0
ACTIVE_S = 10.0
"""A key counts as present this long after its last request."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An output and when the decode loop sent it (monotonic)."""

    t_ns: int
    output: Output


@dataclass(slots=True, eq=False)
class Ticket:
    """One open request. `changed` is set whenever the decode process says something about it."""

    id: int
    received_ns: int
    key: str = ""
    admitted_ns: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were found in the cache."""
    finished: bool = False
    mailbox: deque[Arrival] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def admit(self, admitted: Admitted) -> bool:
        """It got a slot; True when that is the first one (it gets another after it had to make room)."""
        first = not self.admitted_ns
        if first:
            self.admitted_ns = admitted.t_ns
            self.prompt_tokens, self.cached_tokens = admitted.prompt_tokens, admitted.cached_tokens
            self.changed.set()
        return first

    def put(self, arrival: Arrival) -> None:
        """Add an output and wake the reader."""
        self.mailbox.append(arrival)
        self.finished = self.finished or bool(arrival.output.finish)
        self.changed.set()

    def take(self) -> list[Arrival]:
        """Everything in the mailbox."""
        self.changed.clear()
        taken = list(self.mailbox)
        self.mailbox.clear()
        return taken


class RecentKeys:
    """Which keys were seen within the last ACTIVE_S."""

    def __init__(self) -> None:
        self._seen_ns: dict[str, int] = {}

    def note(self, key: str, now_ns: int) -> set[str]:
        """`key` asks for something now; returns it and every other one seen of late."""
        # Ordered by when they were last seen, so that the oldest are met first.
        self._seen_ns.pop(key, None)
        self._seen_ns[key] = now_ns
        while now_ns - self._seen_ns[oldest := next(iter(self._seen_ns))] > ACTIVE_S * 1e9:
            del self._seen_ns[oldest]
        return set(self._seen_ns)


class Tickets:
    """At most slots + queue_limit unfinished requests.

    A finished one stays in `open` until its answer is delivered, and takes nobody's place. One that its client gave up
    is `leaving` and keeps its place until the decode process has said that it is gone there too.
    """

    def __init__(self, slots: int, queue_limit: int) -> None:
        self.slots = slots
        self.queue_limit = queue_limit
        self.open: dict[int, Ticket] = {}
        self.leaving: dict[int, Ticket] = {}
        self._last_id = 0
        self.recent = RecentKeys()
        self._ends_ns: deque[int] = deque(maxlen=256)
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self.open)

    @property
    def running(self) -> int:
        return sum(1 for ticket in self._unfinished() if ticket.admitted_ns)

    @property
    def waiting(self) -> int:
        """Requests beyond the slots; one that is about to get a free slot does not wait."""
        return max(0, len(self._unfinished()) - max(self.slots, self.running))

    def next_id(self) -> int:
        """An id that nothing else sent to the decode process carries."""
        self._last_id += 1
        return self._last_id

    def issue(self, now_ns: int, key: str = "") -> Ticket:
        """Admit one more request, or raise Overloaded with the seconds until a place should be free."""
        load = self._load(now_ns, key)
        verdict = decide(load, key)
        if verdict is not Verdict.ADMIT:
            raise self._overloaded(load, verdict, key, now_ns)
        ticket = Ticket(self.next_id(), now_ns, key)
        self.open[ticket.id] = ticket
        self._empty.clear()
        return ticket

    def admit(self, admitted: Admitted) -> Ticket | None:
        """A request got a slot; its ticket, when it is open and this is its first slot."""
        if ticket := self.leaving.get(admitted.id):
            ticket.admit(admitted)
            return None
        ticket = self.open.get(admitted.id)
        return ticket if ticket is not None and ticket.admit(admitted) else None

    def deliver(self, t_ns: int, output: Output) -> None:
        """Hand an output to its request; one that finishes frees the request's place."""
        if ticket := self.open.get(output.id):
            if output.finish and not ticket.finished:
                self._ends_ns.append(t_ns)
            ticket.put(Arrival(t_ns, output))
        elif output.finish and output.id in self.leaving:
            del self.leaving[output.id]
            if output.finish != "cancelled":
                self._ends_ns.append(t_ns)

    def close(self, ticket: Ticket) -> bool:
        """Its answer is delivered or nobody wants it; True when the decode process has to be told."""
        if self.open.pop(ticket.id, None) is None:
            return False
        if not ticket.finished:
            self.leaving[ticket.id] = ticket
        if not self.open:
            self._empty.set()
        return not ticket.finished

    def fail_all(self, why: str) -> None:
        """Nothing more will come: whoever has no end yet gets one, and those who left are gone."""
        now_ns = time.monotonic_ns()
        self.leaving.clear()
        for ticket in self.open.values():
            if not ticket.finished:
                ticket.put(Arrival(now_ns, Output(ticket.id, "", 0, finish="unavailable", error=why)))

    async def drained(self) -> None:
        """Wait until no request is open."""
        await self._empty.wait()

    def _unfinished(self) -> list[Ticket]:
        # In the order of their coming, which is that of their ids.
        here = [ticket for ticket in self.open.values() if not ticket.finished]
        return sorted([*here, *self.leaving.values()], key=_id_of) if self.leaving else here

    def _load(self, now_ns: int, key: str) -> Load:
        unfinished = self._unfinished()
        pending = [ticket.key for ticket in unfinished if not ticket.admitted_ns]
        # Also the keys whose requests all run: they will be back.
        active = self.recent.note(key, now_ns) | {ticket.key for ticket in unfinished}
        return Load(self.slots, self.queue_limit, len(unfinished) - len(pending), pending, active)

    def _overloaded(self, load: Load, verdict: Verdict, key: str, now_ns: int) -> Overloaded:
        waiting, keys = load.waiting, load.keys_with(key)
        if verdict is Verdict.FULL:
            why = f"The engine is full: every slot is busy and {len(waiting)} requests wait."
            wait_s = self.retry_after_s(now_ns, len(waiting), 1)
        else:
            why = f"{waiting.count(key)} requests of this key wait, which is its share of the queue among {keys} keys."
            wait_s = self.retry_after_s(now_ns, waiting.count(key), keys)
        return Overloaded(why, wait_s, code=verdict.value)

    def retry_after_s(self, now_ns: int, waiting: int, keys: int) -> int:
        """Whole seconds, 1 to 60, until a queue of `waiting` has probably moved up by half of its length, by the rate
        of late, which `keys` share."""
        recent = [end for end in self._ends_ns if now_ns - end <= RATE_WINDOW_S * 1e9]
        if len(recent) < 2:
            return 1
        rate = len(recent) / max((now_ns - recent[0]) / 1e9, 0.1) / keys
        return max(1, min(60, math.ceil((1 + waiting / 2) / rate)))


def _id_of(ticket: Ticket) -> int:
    return ticket.id
