"""What the harness itself costs: plan, summary, live gates, drift comparison. Run: python tests/benchmarks/harness.py

Medians of five, CPU time. No peer does these steps apart, so there is no ratio; the bounds are the project's own.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from scenarios.definition import ArrivalKind, Arrivals, Drift, GateSpec, Scenario, Slo, Workload
from scenarios.drift import words
from scenarios.drift.features import BUCKETS
from scenarios.gates import so_far
from scenarios.observation import Observation, Outcome
from scenarios.plan import make_plan
from scenarios.profiles import PROFILES
from scenarios.request import PlannedRequest
from scenarios.stats.sketch import LogSketch
from scenarios.summary import SummaryContext, summarise

MS = 1_000_000
STEADY = Arrivals(kind=ArrivalKind.POISSON, duration_s=20.0, rate=1000.0)


def median_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def plan() -> str:
    """20,000 requests of all profiles, with drift."""
    workload = Workload(mix=tuple((name, 1.0) for name in PROFILES), drift=Drift(0.4, 0.8))
    scenario = Scenario(name="bench", about="", workload=workload, arrivals=STEADY)
    made = len(make_plan(scenario, 1).requests)
    return f"plan: {median_s(lambda: make_plan(scenario, 1)) / made * 1e6:.0f} us a request (bound 200)"


def summary() -> str:
    """200,000 streamed answers of eight events."""
    n = 200_000
    requests = [PlannedRequest(index=i, due_ns=i * MS, path="/", body=b"", profile="it-ops") for i in range(n)]
    observations = [
        Observation(
            index=i,
            due_ns=i * MS,
            outcome=Outcome.OK,
            sent_ns=i * MS,
            first_ns=i * MS + 5 * MS,
            last_ns=i * MS + 12 * MS,
            end_ns=i * MS + 12 * MS,
            completion_tokens=8,
            event_ns=tuple(range(0, 8 * MS, MS)),
        )
        for i in range(n)
    ]
    context = SummaryContext(slo=Slo(), arrivals=STEADY)
    took_s = median_s(lambda: summarise(requests, observations, [], [], context))
    return f"summary: {took_s:.2f} s for {n:,} observations (bound 2)"


def live_gates() -> str:
    """Twenty gates over a million samples, as each tick asks."""
    sketch = LogSketch()
    sketch.add_many(np.random.default_rng(1).exponential(size=1_000_000))
    gates = [GateSpec("ttft_s.p95", maximum=0.8), GateSpec("goodput", minimum=0.9)] * 10
    took_s = median_s(lambda: so_far(gates, {"ttft_s": sketch}, {"goodput": (900_000, 1_000_000)}, {}))
    return f"live gates: {took_s * 1e3:.1f} ms for {len(gates)} gates (bound 20)"


def drift() -> str:
    """One comparison of 60 recent inputs with 100, five profiles, every permutation."""
    rng = np.random.default_rng(1)
    reference, recent = (rng.poisson(0.3, size=(n, BUCKETS)).astype(np.float32) for n in (100, 60))
    mix = list(np.array(["a", "b", "c", "d", "e"])[rng.integers(0, 5, size=160)])
    took_s = median_s(lambda: words.permuted(reference, recent, mix, 0, words.PERMUTATIONS))
    return f"drift: {took_s * 1e3:.1f} ms a comparison (bound 20)"


if __name__ == "__main__":
    for part in (plan, summary, live_gates, drift):
        print(part())
