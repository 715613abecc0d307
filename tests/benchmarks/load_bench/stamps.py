"""Target 2: when the client says that an event came, less when the server says that it handed it to the kernel."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.benchmarks.load_bench.driver import drive, requests
from tests.benchmarks.load_bench.server import serving
from tests.benchmarks.load_bench.table import Row, medians

TARGET = 2
TITLE = "the client's event times against the server's, 256 streams of 50 tokens/s"
_STREAMS = 256
_INTERVAL_US = 20_000
_BOUNDS_US = ((50.0, 100.0), (99.0, 1000.0))


def measure(quick: bool) -> list[Row]:
    tokens = 250 if quick else 500
    rounds = range(1 if quick else 5)
    spread = medians([_round(tokens, in_step=False) for _ in rounds])
    return spread + medians([_round(tokens, in_step=True) for _ in rounds])


def _round(tokens: int, in_step: bool) -> list[Row]:
    """Streams spread over the interval, or all due at one moment, as from a server that decodes them in one batch."""
    gap_ns = 0 if in_step else _INTERVAL_US * 1000 // _STREAMS
    with serving(tokens, _INTERVAL_US) as server:
        driven = asyncio.run(drive(requests([i * gap_ns for i in range(_STREAMS)], stream=True), server))
    off = np.abs(np.array(driven.stamps_ns())) / 1e3
    how = "all streams in step" if in_step else "streams spread"
    note = f"worker {driven.worker_share:.0%}, server {driven.server_share:.0%} of their cores"
    return [
        Row(
            TARGET,
            f"abs(client - server) p{q:g}, {how}",
            float(np.percentile(off, q)),
            "µs",
            None if in_step else bound,
            note=note,
        )
        for q, bound in _BOUNDS_US
    ]
