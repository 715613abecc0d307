"""Searches against simulated servers of known capacity: how far off they are, without a wire or a clock between.

A server is a queue of `workers`, first come first served, whose service times are fixed or exponential (D or M in
Kendall's notation); it may turn away what would wait beyond `room`, or serve the slower the more wait (`collapse`).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenarios.arrivals import due_times_ns
from scenarios.capacity.probe import Kind, Probe, Record, measure
from scenarios.capacity.search import Found, Next, Rules, decide
from scenarios.definition import ArrivalKind, Arrivals, Search
from scenarios.runner.search import arrivals_of

Floats = npt.NDArray[np.float64]

TIMEOUT_S = 20.0
BETWEEN_S = 1.0
MOST = 4000.0  # requests per second


@dataclass(frozen=True, slots=True)
class SimulatedServer:
    """`rate`: what all workers together serve in a second; `first_s`: from the start of service to the first token."""

    name: str
    workers: int
    rate: float
    exponential: bool = False
    room: int | None = None  # how many may be in it
    collapse: float = 0.0  # a request takes so much longer for each that is in it beyond two a worker
    first_s: float = 0.005

    def serve(self, due_s: Floats, rng: np.random.Generator, slo_s: float) -> Record:
        """What becomes of requests that come at these times."""
        free, inside = [0.0] * self.workers, list[float]()
        start, end = np.full(len(due_s), np.nan), due_s + 0.001
        service_s = self.workers / self.rate
        draws = rng.exponential(service_s, len(due_s)) if self.exponential else np.full(len(due_s), service_s)
        for at, now_s in enumerate(due_s.tolist()):
            while inside and inside[0] <= now_s:
                heapq.heappop(inside)
            if self.room is not None and len(inside) >= self.room:
                continue
            start[at] = max(now_s, free[0])
            slower = 1 + self.collapse * max(0, len(inside) - 2 * self.workers)
            end[at] = start[at] + draws[at] * slower
            heapq.heapreplace(free, float(end[at]))
            heapq.heappush(inside, float(end[at]))
        shed, ttft_s = np.isnan(start), start - due_s + self.first_s
        ok = ~shed & (end - due_s <= TIMEOUT_S)
        ttft_s = np.where(ok, ttft_s, np.nan)
        end_s = np.minimum(end, due_s + TIMEOUT_S)
        return Record(due_s, end_s, ok, ok & (ttft_s <= slo_s), shed, ttft_s, slo_s - ttft_s)


@dataclass(frozen=True, slots=True)
class Searched:
    """How a search ended."""

    found: Found
    probes: tuple[Probe, ...]
    spent_s: float


def due_s(arrivals: Arrivals, step: Next, seed: int) -> Floats:
    """When the requests of a probe are due."""
    bits = np.random.PCG64(np.random.SeedSequence(seed))
    return np.asarray(due_times_ns(arrivals_of(arrivals, step), bits) / 1e9)


def search(server: SimulatedServer, kind: ArrivalKind, slo_s: float, seed: int, start: float = 4.0) -> Searched:
    """A whole search, as the runner does it."""
    arrivals = Arrivals(kind, 240.0, rate=start)
    rules = Rules(Search(), start, 240.0, MOST, 0.0 if kind is ArrivalKind.CONSTANT else 1.0)
    rng = np.random.default_rng(seed)
    probes: list[Probe] = []
    spent_s = 0.0
    while not isinstance(step := decide(rules, probes, spent_s), Found):
        times = due_s(arrivals, step, seed * 1000 + len(probes))
        record = server.serve(times, rng, slo_s)
        probes.append(measure(step.kind, step.rate, step.end_rate, step.duration_s, record))
        spent_s += max(step.duration_s, float(record.end_s.max(initial=0.0))) + BETWEEN_S
    return Searched(step, tuple(probes), spent_s)


def capacity(server: SimulatedServer, kind: ArrivalKind, slo_s: float, share: float, requests: int = 200_000) -> float:
    """The capacity itself, by bisection with very long runs."""
    low, high = 0.5 * server.rate, 1.2 * server.rate
    for _ in range(11):
        rate = math.sqrt(low * high)
        step = Next(Kind.STEADY, rate, rate, requests / server.rate)
        times = due_s(Arrivals(kind, 1.0, rate=rate), step, 1)
        record = server.serve(times, np.random.default_rng(1), slo_s)
        settled = times > times[-1] * 0.05
        waiting = int((record.end_s > times[-1]).sum())
        holds = record.good[settled].mean() >= share and waiting < 0.003 * len(times) + 50
        low, high = (rate, high) if holds else (low, rate)
    return math.sqrt(low * high)
