"""Target 3: what one core of load generator can do, beside AIPerf and GuideLLM on the same core and server.

Ours is a plan through a LoadPool with one worker, from the first due time until the runner has the last observation.
"""

from __future__ import annotations

import asyncio

import numpy as np

from tests.benchmarks.load_bench.driver import Driven, drive, requests
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.peers import PEERS, Peer, peer_rate
from tests.benchmarks.load_bench.server import Server, serving
from tests.benchmarks.load_bench.table import Row, medians, not_run

TARGET = 3
TITLE = "requests/s and events/s of one core, beside AIPerf and GuideLLM"
_CONCURRENCY = 32
_EVENTS = 200
"""With text, of each stream of the comparison."""
_SHORT = 8000.0
_SSE = 120_000.0
_RATIO = 4.0
_PACED_STREAMS = 2_700
_PACED_US = 20_000
_WINDOW_S = (1.5, 5.0)


def measure(quick: bool) -> list[Row]:
    rounds = 1 if quick else 3
    rows = medians([_paced() for _ in range(1 if quick else 5)])
    for stream in (False, True):
        rows += _beside_peers(stream, quick, rounds)
    return rows


def _paced() -> list[Row]:
    """As many streams as it takes, each event of each at a time of its own."""
    tokens = int((_WINDOW_S[1] + 0.5) * 1e6 / _PACED_US)
    with serving(tokens, _PACED_US) as server:
        gap_ns = _PACED_US * 1000 // _PACED_STREAMS
        plan = requests([i * gap_ns for i in range(_PACED_STREAMS)], stream=True)
        driven = asyncio.run(drive(plan, server, connections=8192))
    times = np.concatenate([np.array(one.event_ns) for one in driven.observations]) / 1e9
    begun, ended = _WINDOW_S
    rate = float(((times >= begun) & (times < ended)).sum() / (ended - begun))
    own = sum(len(set(one.event_ns)) for one in driven.observations) / driven.events
    offered = _PACED_STREAMS * 1e6 / _PACED_US
    late_ms = float(np.percentile(driven.stamps_ns(), 50)) / 1e6
    note = (
        f"{offered:,.0f} offered on {_PACED_STREAMS:,} streams; {own:.1%} of the events came alone in their read; "
        f"client less server p50 {late_ms:.2f} ms; "
        f"{_cost(driven, driven.events)}"
    )
    return [Row(TARGET, "paced SSE events/s", rate, "/s", _SSE, at_least=True, note=note)]


def _beside_peers(stream: bool, quick: bool, rounds: int) -> list[Row]:
    """Ours and the peers in turns, on a server that gives as fast as it can."""
    what, unit, bound = ("SSE events/s, unpaced", "/s", _SSE) if stream else ("short requests/s", "/s", _SHORT)
    each = _EVENTS if stream else 1
    ours: list[list[Row]] = []
    theirs: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    why: dict[str, str] = {}
    with serving(_EVENTS) as server:
        for _ in range(rounds):
            ours.append([_ours(server, stream, what, unit, bound, quick)])
            for peer in PEERS:
                try:
                    theirs[peer.name].append(each * peer_rate(peer, server, stream, _CONCURRENCY, quick))
                except Unmeasured as error:
                    why[peer.name] = str(error)
        rows = medians(ours)
        for peer in PEERS:
            rows += _compared(peer, what, unit, rows[0].measured or 0.0, theirs[peer.name], why.get(peer.name, ""))
            if not quick and theirs[peer.name]:
                both = each * peer_rate(peer, server, stream, _CONCURRENCY, quick, both_cores=True)
                rows.append(Row(TARGET, f"{what}, {peer.name} on both cores", both, unit))
    return rows


def _ours(server: Server, stream: bool, what: str, unit: str, bound: float, quick: bool) -> Row:
    count = (1_000 if quick else 3_000) if stream else (20_000 if quick else 60_000)
    driven = asyncio.run(drive(requests([0] * count, stream), server, connections=_CONCURRENCY))
    done = driven.events if stream else count
    return Row(TARGET, what, done / driven.seconds, unit, bound, at_least=True, note=_cost(driven, done))


def _cost(driven: Driven, count: int) -> str:
    each_us = driven.worker_share * driven.seconds / count * 1e6
    shares = f"worker {driven.worker_share:.0%}, server {driven.server_share:.0%} of their cores"
    return f"{each_us:.1f} µs of CPU each; {shares}"


def _compared(peer: Peer, what: str, unit: str, ours: float, theirs: list[float], why: str) -> list[Row]:
    if not theirs:
        return [not_run(TARGET, f"{what}, ours to {peer.name}'s", why)]
    rate = float(np.median(theirs))
    note = f"{peer.name} {rate:,.0f}{unit} on the same core, the median of {len(theirs)}"
    return [Row(TARGET, f"{what}, ours to {peer.name}'s", ours / rate, "x", _RATIO, at_least=True, note=note)]
