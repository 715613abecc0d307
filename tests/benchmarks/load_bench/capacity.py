"""Target 10: `seatrial run capacity` against servers whose capacity is known, and its decisions against simulated ones.

The known servers answer with streams of four tokens from a fixed number of workers; one of them turns away what would
wait too long: there, 95 % of all requests are still good at 1 / 0.95 times what it serves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.definition import ArrivalKind
from tests.benchmarks.load_bench.capacity_server import known_server
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.simulated import SimulatedServer, capacity, search
from tests.benchmarks.load_bench.table import Row

TARGET = 10
TITLE = "capacity search: error against servers of known capacity, probes, minutes"
SHARE = 0.95
SLO_S = 0.5
MOST_OFF = 3.0  # percent
MOST_PROBES = 8
MOST_MINUTES = 4.0
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Known:
    """`queue`: how many may wait; None: as many as come."""

    name: str
    workers: int
    rate: float
    queue: int | None = None

    @property
    def capacity(self) -> float:
        """Requests per second."""
        return self.rate if self.queue is None else self.rate / SHARE


SERVERS = (
    Known("20/s, queues", 4, 20.0),
    Known("60/s, queues", 8, 60.0),
    Known("150/s, queues", 16, 150.0),
    Known("60/s, turns away", 8, 60.0, queue=16),
)
SIMULATED = (
    (SimulatedServer("D/D/8, 60/s", 8, 60.0), ArrivalKind.CONSTANT),
    (SimulatedServer("D/M/16, 150/s", 16, 150.0, exponential=True), ArrivalKind.CONSTANT),
    (SimulatedServer("M/D/1, 20/s", 1, 20.0), ArrivalKind.POISSON),
    (SimulatedServer("M/D/8, 60/s", 8, 60.0), ArrivalKind.POISSON),
    (SimulatedServer("M/M/16, 150/s", 16, 150.0, exponential=True), ArrivalKind.POISSON),
    (SimulatedServer("D/D/8, 150/s, turns away", 8, 150.0, room=32), ArrivalKind.CONSTANT),
    (SimulatedServer("M/D/8, 150/s, turns away", 8, 150.0, room=32), ArrivalKind.POISSON),
    (SimulatedServer("M/M/8, 60/s", 8, 60.0, exponential=True), ArrivalKind.POISSON),
)


def measure(quick: bool) -> list[Row]:
    servers = SERVERS[1:2] if quick else SERVERS
    simulated = SIMULATED[:2] if quick else SIMULATED
    return [
        *(row for server in servers for row in _known(server)),
        *(_simulated(server, kind, 20 if quick else 100) for server, kind in simulated),
    ]


def _known(server: Known) -> list[Row]:
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as runs,
        known_server(server.workers, server.workers / server.rate, server.queue) as url,
    ):
        command = ("run", "capacity", "--target", url, "--yes", "--json", "--plain", "--runs-dir", runs)
        done = subprocess.run(
            (sys.executable, "-m", "console", *command),
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    minutes = (time.monotonic() - begun) / 60
    if not done.stdout:
        raise Unmeasured(f"the search ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    document = json.loads(done.stdout)
    found = document["summary"]["capacity"]
    if found["rate"] is None:
        raise Unmeasured(f"no capacity was found: {found['why']}")
    off = abs(found["rate"] / server.capacity - 1) * 100
    low, high, verdict = found["low"], found["high"], document["verdict"]
    note = f"{found['rate']:.2f}/s ({low:.2f} to {high:.2f}) against {server.capacity:.2f}/s, {verdict}"
    return [
        Row(TARGET, f"{server.name}: off", off, "%", MOST_OFF, note=note),
        Row(TARGET, f"{server.name}: probes", len(found["probes"]), "", MOST_PROBES),
        Row(TARGET, f"{server.name}: start to end", minutes, "min", MOST_MINUTES),
    ]


def _simulated(server: SimulatedServer, kind: ArrivalKind, runs: int) -> Row:
    truth = capacity(server, kind, SLO_S, SHARE)
    ended = [search(server, kind, SLO_S, seed) for seed in range(runs)]
    off = np.array([np.inf if one.found.rate is None else one.found.rate / truth - 1 for one in ended]) * 100
    within = float((np.abs(off) <= MOST_OFF).mean() * 100)
    note = (
        f"capacity {truth:.1f}/s; off p5 {np.quantile(off, 0.05):+.1f} %, p50 {np.quantile(off, 0.5):+.1f} %, "
        f"p95 {np.quantile(off, 0.95):+.1f} %; at most {max(len(one.probes) for one in ended)} probes, "
        f"{max(one.spent_s for one in ended) / 60:.1f} min"
    )
    what = f"simulated {server.name}: of {runs} searches within {MOST_OFF:g} %"
    return Row(TARGET, what, within, "%", 95.0, at_least=True, note=note)
