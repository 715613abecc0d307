"""Every request of a run with its due time, made from scenario and seed before the first send."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec
import numpy as np

from scenarios.arrivals import NANO, due_times_ns, uniforms
from scenarios.definition import Drift, Scenario
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.metrics import ODD_PROFILE
from scenarios.odd import ODD_CLASSES, OddClass
from scenarios.profiles import PROFILES, Era
from scenarios.request import PlannedRequest
from scenarios.workload import SAFETY_PROFILE, odd_request, safety_task, task_request

# Streams of random bits, one for each decision: changing the rate does not reshuffle what is asked.
_ARRIVALS, _MIX, _ERA = range(3)


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests in due order, and the SHA-256 of them all as hex (screens and reports show the first 16 digits)."""

    requests: tuple[PlannedRequest, ...]
    hash: str


def make_plan(scenario: Scenario, seed: int, model: str | None = None) -> Plan:
    """The plan of a run; the same arguments give the same plan, byte for byte.

    `model` is put into every payload, for targets that need a name. Raises DefinitionErrors for a negative seed, and
    where chance or a low rate leaves the plan without a request.
    """
    if seed < 0:
        raise DefinitionErrors((Mistake("--seed", 0, f"{seed} is negative", "give a whole number from 0 up"),))
    due = due_times_ns(scenario.arrivals, _bits(seed, _ARRIVALS)).tolist()
    if not due:
        what = f"not one request comes due in {scenario.arrivals.duration_s:g} s"
        raise DefinitionErrors((Mistake(scenario.name, 0, what, "raise --rate or --duration"),))
    profiles = _profiles(scenario, seed, len(due))
    chances = uniforms(_bits(seed, _ERA), len(due)).tolist()
    odd = odd_order(seed, profiles.count(ODD_PROFILE))
    odd_at = iter(odd)
    requests = []
    for index, (due_ns, profile, chance) in enumerate(zip(due, profiles, chances, strict=True)):
        rng = random.Random(f"seatrial {seed} {index}")
        if profile == ODD_PROFILE:
            request = odd_request(index, due_ns, next(odd_at), rng, model=model, timeout_s=scenario.timeout_s)
        else:
            late = chance < era_b_share(scenario.workload.drift, due_ns / NANO, scenario.arrivals.duration_s)
            era = Era.B if late and profile != SAFETY_PROFILE else Era.A
            task = safety_task(rng) if profile == SAFETY_PROFILE else PROFILES[profile].sample(rng, era)
            request = task_request(index, due_ns, profile, task, era, model=model, timeout_s=scenario.timeout_s)
        requests.append(request)
    return Plan(tuple(requests), plan_hash(requests))


def plan_hash(requests: Sequence[PlannedRequest]) -> str:
    """SHA-256, hex, of the requests as one MessagePack array; encoded one by one, since a plan may be large."""
    encoder = msgspec.msgpack.Encoder()
    nothing = encoder.encode([None] * len(requests))
    digest = hashlib.sha256(nothing[: len(nothing) - len(requests)])  # the array's header; each None is one byte
    for request in requests:
        digest.update(encoder.encode(request))
    return digest.hexdigest()


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


def _profiles(scenario: Scenario, seed: int, count: int) -> list[str]:
    """The profile of each request, drawn by weight after the safety share is taken off."""
    share = scenario.workload.safety_share
    total = sum(weight for _, weight in scenario.workload.mix)
    names = [SAFETY_PROFILE, *(name for name, _ in scenario.workload.mix)]
    weights = (share, *(weight / total * (1 - share) for _, weight in scenario.workload.mix))
    return _drawn(names, weights, uniforms(_bits(seed, _MIX), count).tolist())


def _drawn(names: Sequence[str], weights: Iterable[float], chances: Iterable[float]) -> list[str]:
    edges = list(accumulate(weights))
    last = max(i for i, edge in enumerate(edges) if i == 0 or edge > edges[i - 1])  # rounding may leave a gap below 1
    return [names[min(bisect_right(edges, chance), last)] for chance in chances]
