"""The plan on its way into the journal, and out of it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scenarios.journal import JournalReader, JournalWriter
from scenarios.metrics import ODD_PROFILE
from scenarios.plan import Plan, PlanDigest
from scenarios.request import PlannedRequest
from scenarios.runner.leg import Leg

_BLOCK = 2_048  # requests between two commits
_SAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Planned:
    """What was written: the plan's hash, and how many of its requests are odd probes."""

    hash: str
    odd: int


class PlanWriter:
    """Writes a plan into the journal in one pass, each request made once; runs in a thread until `stop` is called."""

    def __init__(self, leg: Leg, journal: JournalWriter, say: Callable[[int], None]) -> None:
        """say: told from that thread, every few seconds, how many requests are written."""
        self._leg = leg
        self._journal = journal
        self._say = say
        self._stopped = threading.Event()

    def write(self) -> Planned:
        """Raises InterruptedError when it was stopped, JournalError when the journal cannot be written."""
        plan, numbers = self._leg.plan, self._leg.numbers
        digest = PlanDigest(len(plan))
        odd = 0
        said = time.monotonic()
        for at in range(0, len(plan), _BLOCK):
            if self._stopped.is_set():
                raise InterruptedError("the run ended while its plan was written")
            requests = plan[at : at + _BLOCK]
            digest.add(requests)
            odd += sum(request.profile == ODD_PROFILE for request in requests)
            self._journal.add_plan(requests if numbers is None else map(self._numbered, requests))
            self._journal.commit()
            if time.monotonic() - said >= _SAY_S:
                said = time.monotonic()
                self._say(at + len(requests))
        return Planned(digest.hexdigest(), odd)

    def _numbered(self, request: PlannedRequest) -> PlannedRequest:
        after = None if request.after is None else self._leg.number(request.after)
        return msgspec.structs.replace(request, index=self._leg.number(request.index), after=after)

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()


Request = Callable[[int], PlannedRequest]


@contextmanager
def requests_of(journal: Path, made_anew: Plan | None) -> Iterator[Request]:
    """Every request by the journal's index: read from there, or from a plan where the journal holds no prompts."""
    if made_anew is not None:
        yield made_anew.__getitem__
        return
    with JournalReader(journal) as reader:
        yield StoredRequests(reader).__getitem__


class StoredRequests:
    """The requests of a journal by index, for one user that asks for them about in order; from any thread."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._one_at_a_time = threading.Lock()

    def __getitem__(self, index: int) -> PlannedRequest:
        with self._one_at_a_time:
            request = self._reader.request(index)
        if request is None:
            raise IndexError(index)
        return request
