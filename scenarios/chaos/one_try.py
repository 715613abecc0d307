"""One try of a chaos search: when its requests come, what their clients are like, and which faults meet them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scenarios.chaos.feel import FIRST_S
from scenarios.definition import ArrivalKind, Arrivals, Chaos, Clients, FaultSpec
from scenarios.describe import clients_in_words
from scenarios.faults.kinds import KINDS
from scenarios.faults.words import value_in_words

PLAIN = Clients()
GAP_S = 0.2  # between requests without a fault


@dataclass(frozen=True, slots=True)
class Try:
    """`at_s`: when each request is due, seconds from the try's start, ascending; there is at least one.

    What the n-th request asks depends on n and the run's seed alone, so that every try asks a beginning of the same
    list. faults: in the order in which they start.
    """

    at_s: tuple[float, ...]
    faults: tuple[FaultSpec, ...] = ()
    clients: Clients = PLAIN

    @property
    def arrivals(self) -> Arrivals:
        """Its requests as a scenario has them; the run is over in the second after its last request or fault."""
        ends_s = max((self.at_s[-1], *(fault.at_s + fault.for_s for fault in self.faults)))
        return Arrivals(ArrivalKind.TIMES, math.floor(ends_s) + 1.0, at_s=self.at_s)


def undisturbed(chaos: Chaos, gap_s: float = GAP_S) -> Try:
    """Every request that a search may ask, without a fault."""
    return Try(tuple(round(FIRST_S + n * gap_s, 3) for n in range(chaos.most_requests)))


def in_words(one: Try) -> str:
    """ "network.reset at 0.34 s for 0.5 s, 3 requests": what is tried, in one line."""
    count = len(one.at_s)
    requests = "1 request" if count == 1 else f"{count} requests"
    faults = " + ".join(fault_in_words(fault) for fault in one.faults)
    clients = clients_in_words(one.clients)
    return ", ".join(part for part in (faults or "no fault", requests, *clients) if part)


def fault_in_words(fault: FaultSpec) -> str:
    """ "network.reset (after 200) at 0.34 s for 0.5 s"; parameters only where they are not the kind's own."""
    known = {param.name: param for param in KINDS[fault.kind].params}
    own = [
        f"{name} {value_in_words(known[name], value)}" for name, value in fault.params if value != known[name].default
    ]
    if fault.share < 1.0:
        own.append(f"share {fault.share:g}")
    if fault.hits:
        own.append(f"hits {fault.hits}")
    length = f" for {fault.for_s:g} s" if fault.for_s else ""
    return f"{fault.kind}{_in_brackets(own)} at {fault.at_s:g} s{length}"


def _in_brackets(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""
