"""Every request of a run with its due time, made from scenario and seed before the first send."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import overload

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios import draws
from scenarios.arrivals import NANO, Ints, due_times_ns
from scenarios.circumstances import circumstances
from scenarios.definition import ArrivalKind, Drift, Scenario
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.odd import OddClass
from scenarios.profiles import Era
from scenarios.request import PlannedRequest
from scenarios.sources import Ask, Seed, Source, recording_at, source_of
from scenarios.timeline import Timeline, pauses_ns, timeline
from scenarios.workload import SAFETY_PROFILE, odd_request, task_request

MOST_REQUESTS = 1_000_000

# Streams of random bits, one for each decision: changing the rate does not reshuffle what is asked.
_ARRIVALS, _MIX, _ERA, _MANNERS, _TENANT, _THINK = range(6)
_OF_PART, _EACH = 16, 8  # from here on so many for each entry of the mix, the last one for the pauses in its sessions


class Plan(Sequence[PlannedRequest]):
    """The requests in due order, each made when it is asked for, always the same: a plan of a million fits in memory.

    `due_ns`: when each is due by the plan, ns from the start, ascending. `root`: the index of the first request of the
    chain that a request belongs to (its session, or its user in a closed loop), its own where it follows nobody.
    """

    def __init__(self, due_ns: Ints, root: Ints, make: Callable[[int], PlannedRequest]) -> None:
        self.due_ns = due_ns
        self.root = root
        self._make = make

    @classmethod
    def of(cls, requests: Sequence[PlannedRequest]) -> Plan:
        """The plan of requests that exist already, numbered from 0 in due order."""
        root = np.arange(len(requests), dtype=np.int64)
        for request in requests:
            if request.after is not None:
                root[request.index] = root[request.after]
        due_ns = np.fromiter((request.due_ns for request in requests), np.int64, len(requests))
        return cls(due_ns, root, requests.__getitem__)

    def __len__(self) -> int:
        return len(self.due_ns)

    @overload
    def __getitem__(self, at: int) -> PlannedRequest: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PlannedRequest, ...]: ...
    def __getitem__(self, at: int | slice) -> PlannedRequest | tuple[PlannedRequest, ...]:
        if isinstance(at, slice):
            return tuple(self._make(index) for index in range(*at.indices(len(self))))
        return self._make(range(len(self))[at])

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of them all as hex (screens show the first 16 digits); it makes every request once."""
        return plan_hash(self)


def make_plan(scenario: Scenario, seed: int, model: str | None = None) -> Plan:
    """The plan of a run; the same arguments and files give the same plan, byte for byte.

    `model` is put into every payload, for targets that need a name. Raises DefinitionErrors for a negative seed, where
    chance or a low rate leaves the plan without a request, and for a file that is not the one that the scenario names.
    """
    if seed < 0:
        raise DefinitionErrors((Mistake("--seed", 0, f"{seed} is negative", "give a whole number from 0 up"),))
    arrivals, workload = scenario.arrivals, scenario.workload
    played = recording_at(arrivals)
    start_ns = due_times_ns(arrivals, draws.stream(seed, _ARRIVALS), None if played is None else played.at_ns)
    starts = len(start_ns)
    if not starts:
        what = f"not one request comes due in {arrivals.duration_s:g} s"
        raise DefinitionErrors((Mistake(scenario.name, 0, what, "raise --rate or --duration"),))
    names, entry = _entries(scenario, seed, starts)
    sources = [
        source_of(workload.part(name), played, Seed(seed, _OF_PART + _EACH * k), int((entry == k).sum()))
        for k, name in enumerate(names)
    ]
    line = _line(scenario, seed, start_ns, entry, sources)
    count = len(line.due_ns)
    if count > MOST_REQUESTS:
        what = f"the plan holds {count:,} requests"
        raise DefinitionErrors((Mistake(scenario.name, 0, what, f"stay under {MOST_REQUESTS:,}: lower the rate"),))
    chance = draws.uniforms(draws.stream(seed, _ERA), starts)
    nth = _nth(entry, len(names))
    around = circumstances(workload, line, draws.stream(seed, _MANNERS), draws.stream(seed, _TENANT))
    timeout_s = scenario.timeout_s

    def make(index: int) -> PlannedRequest:
        start = int(line.start[index])
        rng = random.Random(f"seatrial {seed} {start}")
        k = int(entry[start])
        name, due = names[k], int(line.due_ns[index])
        late = chance[start] < era_b_share(workload.drift, int(start_ns[start]) / NANO, arrivals.duration_s)
        era = Era.B if late and name != SAFETY_PROFILE else Era.A
        task = sources[k].task(rng, era, Ask(start, int(nth[start]), int(line.turn[index])))
        if isinstance(task, OddClass):
            return odd_request(index, due, task, rng, model=model, timeout_s=timeout_s, around=around(index))
        return task_request(index, due, name, task, era, model=model, timeout_s=timeout_s, around=around(index))

    return Plan(line.due_ns, line.root, make)


def plan_hash(requests: Sequence[PlannedRequest]) -> str:
    """SHA-256, hex, of the requests as one MessagePack array."""
    digest = PlanDigest(len(requests))
    digest.add(requests)
    return digest.hexdigest()


class PlanDigest:
    """The hash of a plan of `count` requests that is seen part by part, since a plan may be large."""

    def __init__(self, count: int) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        nothing = self._encode([None] * count)
        self._sha256 = hashlib.sha256(nothing[: len(nothing) - count])  # the array's header; each None is one byte

    def add(self, requests: Iterable[PlannedRequest]) -> None:
        """The next requests in order."""
        for request in requests:
            self._sha256.update(self._encode(request))

    def hexdigest(self) -> str:
        """The hash, once all were added."""
        return self._sha256.hexdigest()


def era_b_share(drift: Drift | None, at_s: float, duration_s: float) -> float:
    """The share of era-B requests at a time: 0 until `start`, then a straight line to 1 at `end`."""
    if drift is None:
        return 0.0
    start_s, end_s = drift.start * duration_s, drift.end * duration_s
    if at_s < start_s:
        return 0.0
    return 1.0 if at_s >= end_s else (at_s - start_s) / (end_s - start_s)


def _entries(scenario: Scenario, seed: int, count: int) -> tuple[list[str], npt.NDArray[np.int16]]:
    """Names in the mix, and for each start the place of its own, by weight after the safety share is taken off."""
    share = scenario.workload.safety_share
    total = math.fsum(weight for _, weight in scenario.workload.mix)
    names = [SAFETY_PROFILE, *(name for name, _ in scenario.workload.mix)]
    weights = (share, *(weight / total * (1 - share) for _, weight in scenario.workload.mix))
    return names, draws.weighted(draws.stream(seed, _MIX), weights, count).astype(np.int16)


def _nth(entry: npt.NDArray[np.int16], entries: int) -> npt.NDArray[np.int32]:
    """Of each start, how many of its own entry of the mix come before it."""
    nth = np.zeros(len(entry), dtype=np.int32)
    for k in range(entries):
        own = entry == k
        nth[own] = np.arange(int(own.sum()), dtype=np.int32)
    return nth


def _line(
    scenario: Scenario, seed: int, start_ns: Ints, entry: npt.NDArray[np.int16], sources: Sequence[Source]
) -> Timeline:
    """The timeline of all requests: sessions have turns of their entry, a closed loop has users."""
    arrivals = scenario.arrivals
    turns = np.ones(len(entry), dtype=np.int64)
    for k, source in enumerate(sources):
        if source.turns is not None:
            turns[entry == k] = source.turns
    owner = np.repeat(entry, turns)
    opens = np.zeros(len(owner), dtype=np.bool_)
    opens[np.cumsum(turns) - turns] = True
    think_ns = np.zeros(len(owner), dtype=np.int64)
    for k, source in enumerate(sources):
        rows = (owner == k) & ~opens
        think_ns[rows] = pauses_ns(source.think, draws.stream(seed, _OF_PART + _EACH * k + _EACH - 1), int(rows.sum()))
    closed = arrivals.kind is ArrivalKind.CLOSED
    if closed:
        think_ns[opens] = pauses_ns(arrivals.think, draws.stream(seed, _THINK), int(opens.sum()))
    return timeline(start_ns, turns, think_ns, arrivals.concurrency if closed else 0)
