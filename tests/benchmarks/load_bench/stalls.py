"""Target 4: a server that stops for five seconds: the latencies from due are what arithmetic says they must be.

Requests are due every 10 ms for T = 6 s, the server does nothing from a to b = a + 5 s. With an answer in no time else,
a request due at t has a TTFT of b - t where a <= t < b and 0 elsewhere: the q-quantile over all is
max(0, 5 - (1 - q) T), q >= 1 - 5/T. A generator that sends late and counts from the send shows next to nothing of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from scenarios.observation import Observation
from tests.benchmarks.load_bench.driver import Driven, drive, requests
from tests.benchmarks.load_bench.server import Server, serving
from tests.benchmarks.load_bench.table import Row, medians

TARGET = 4
TITLE = "a stall of 5 s at 100 requests/s: TTFT from due against the closed form"
_RATE = 100
_SPAN_S = 6.0
_STALL_S = 5.0
_BEFORE_S = 0.5


def measure(quick: bool) -> list[Row]:
    rounds = range(1 if quick else 3)
    return [
        row
        for connections, how in ((4096, "a connection for each"), (64, "64 connections"))
        for row in medians([_round(connections, how) for _ in rounds])
    ]


def _round(connections: int, how: str) -> list[Row]:
    with serving(tokens=2) as server:
        driven = asyncio.run(_stalled(server, connections))
    rows = []
    for q in (50, 99):
        truth_s = max(0.0, _STALL_S - (1 - q / 100) * _SPAN_S)
        found_s = _quantile_s(driven.observations, q)
        raw_s = _quantile_s(driven.observations, q, from_sent=True)
        note = f"{found_s:.3f} s against {truth_s:.3f} s; from sent {raw_s:.3f} s"
        off = abs(found_s - truth_s) / truth_s * 100
        rows.append(Row(TARGET, f"TTFT p{q} off the closed form, {how}", off, "%", 2.0, note=note))
    return rows


async def _stalled(server: Server, connections: int) -> Driven:
    due_ns = range(0, int(_SPAN_S * 1e9), 1_000_000_000 // _RATE)

    async def stall(t0_ns: int) -> None:
        await asyncio.sleep(t0_ns / 1e9 + _BEFORE_S - time.monotonic())
        with server.stalled():
            await asyncio.sleep(t0_ns / 1e9 + _BEFORE_S + _STALL_S - time.monotonic())

    return await drive(requests(due_ns, stream=True), server, connections, meanwhile=stall)


def _quantile_s(observations: Sequence[Observation], q: float, from_sent: bool = False) -> float:
    begun = [one.sent_ns if from_sent and one.sent_ns is not None else one.due_ns for one in observations]
    ttft = [(one.first_ns or 0) - from_ns for one, from_ns in zip(observations, begun, strict=True)]
    return float(np.percentile(ttft, q)) / 1e9
