"""Target 1: how far from its due time a request is sent, and what this machine's own timers would allow."""

from __future__ import annotations

import asyncio
import os
import time

import numpy as np
import numpy.typing as npt

from tests.benchmarks.load_bench.driver import drive, requests
from tests.benchmarks.load_bench.server import cores, serving
from tests.benchmarks.load_bench.table import Row, medians

TARGET = 1
TITLE = "send accuracy at 1,000 requests/s"
_GAP_NS = 1_000_000
_BOUNDS_US = ((50.0, 50.0), (99.0, 250.0), (99.9, 1000.0))


def measure(quick: bool) -> list[Row]:
    seconds = 5 if quick else 20
    return medians([_round(seconds) for _ in range(1 if quick else 5)])


def _round(seconds: int) -> list[Row]:
    with serving(tokens=1) as server:
        plan = requests(range(0, seconds * 1_000_000_000, _GAP_NS), stream=False)
        driven = asyncio.run(drive(plan, server))
    off = np.array([abs((one.sent_ns or 0) - one.due_ns) for one in driven.observations]) / 1e3
    note = f"worker {driven.worker_share:.0%} of its core"
    rows = [
        Row(TARGET, f"abs(sent - due) p{q:g}", float(np.percentile(off, q)), "µs", bound, note=note)
        for q, bound in _BOUNDS_US
    ]
    for what, wait in (("time.sleep", _sleep), ("a loop that does nothing but look at the clock", _spin)):
        late = _lateness_us(wait, seconds=2)
        rows += [
            Row(TARGET, f"this machine: {what} late, p{q:g}", float(np.percentile(late, q)), "µs") for q in (50, 99.9)
        ]
    return rows


def _sleep(until_ns: int) -> None:
    time.sleep(max(0, until_ns - time.monotonic_ns()) / 1e9)


def _spin(until_ns: int) -> None:
    while time.monotonic_ns() < until_ns:
        pass


def _lateness_us(wait: object, seconds: int) -> npt.NDArray[np.float64]:
    """How late each of a thousand due times a second is met on the generator's core by a wait of its own."""
    assert callable(wait)
    both = cores()
    os.sched_setaffinity(0, {both[1]})
    try:
        due_ns = time.monotonic_ns()
        late = []
        for _ in range(seconds * 1000):
            due_ns += _GAP_NS
            wait(due_ns)
            late.append(time.monotonic_ns() - due_ns)
    finally:
        os.sched_setaffinity(0, set(both))
    return np.array(late) / 1e3
