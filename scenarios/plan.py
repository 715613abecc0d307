"""Every request of a run with its due time, made from scenario and seed before the first send."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import overload

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.arrivals import NANO, Ints, due_times_ns, uniforms
from scenarios.definition import Drift, Scenario
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.metrics import ODD_PROFILE
from scenarios.odd import ODD_CLASSES, OddClass
from scenarios.profiles import PROFILES, Era
from scenarios.request import PlannedRequest
from scenarios.workload import SAFETY_PROFILE, odd_request, safety_task, task_request

# Streams of random bits, one for each decision: changing the rate does not reshuffle what is asked.
_ARRIVALS, _MIX, _ERA = range(3)


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
    """The plan of a run; the same arguments give the same plan, byte for byte.

    `model` is put into every payload, for targets that need a name. Raises DefinitionErrors for a negative seed, and
    where chance or a low rate leaves the plan without a request.
    """
    if seed < 0:
        raise DefinitionErrors((Mistake("--seed", 0, f"{seed} is negative", "give a whole number from 0 up"),))
    due_ns = due_times_ns(scenario.arrivals, _bits(seed, _ARRIVALS))
    count = len(due_ns)
    if not count:
        what = f"not one request comes due in {scenario.arrivals.duration_s:g} s"
        raise DefinitionErrors((Mistake(scenario.name, 0, what, "raise --rate or --duration"),))
    names, profile = _profiles(scenario, seed, count)
    chance = uniforms(_bits(seed, _ERA), count)
    probe = np.cumsum(profile == (names.index(ODD_PROFILE) if ODD_PROFILE in names else -1)) - 1
    odd = odd_order(seed, int(probe[-1]) + 1)
    timeout_s = scenario.timeout_s

    def make(index: int) -> PlannedRequest:
        rng = random.Random(f"seatrial {seed} {index}")
        name, due = names[profile[index]], int(due_ns[index])
        if name == ODD_PROFILE:
            return odd_request(index, due, odd[probe[index]], rng, model=model, timeout_s=timeout_s)
        late = chance[index] < era_b_share(scenario.workload.drift, due / NANO, scenario.arrivals.duration_s)
        era = Era.B if late and name != SAFETY_PROFILE else Era.A
        task = safety_task(rng) if name == SAFETY_PROFILE else PROFILES[name].sample(rng, era)
        return task_request(index, due, name, task, era, model=model, timeout_s=timeout_s)

    return Plan(due_ns, np.arange(count, dtype=np.int64), make)


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


def odd_order(seed: int, count: int) -> list[OddClass]:
    """Which odd class each probe is of: every class once in an order of its own, then every class again."""
    order: list[OddClass] = []
    rng = random.Random(f"seatrial {seed} odd")
    while len(order) < count:
        order += rng.sample(list(ODD_CLASSES.values()), len(ODD_CLASSES))
    return order[:count]


def _bits(seed: int, stream: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,)))


def _profiles(scenario: Scenario, seed: int, count: int) -> tuple[list[str], npt.NDArray[np.int16]]:
    """Names of profiles, and for each request the place of its own, by weight after the safety share is taken off."""
    share = scenario.workload.safety_share
    total = sum(weight for _, weight in scenario.workload.mix)
    names = [SAFETY_PROFILE, *(name for name, _ in scenario.workload.mix)]
    weights = (share, *(weight / total * (1 - share) for _, weight in scenario.workload.mix))
    edges = list(accumulate(weights))
    last = max(i for i, edge in enumerate(edges) if i == 0 or edge > edges[i - 1])  # rounding may leave a gap below 1
    chances = uniforms(_bits(seed, _MIX), count)
    return names, np.minimum(np.searchsorted(edges, chances, side="right"), last).astype(np.int16)
