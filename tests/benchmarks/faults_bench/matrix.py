"""Target 3: the embedded engine under `seatrial run resilience`, every kind of fault in turn: nothing stays stuck, each
request ends in one outcome, and service is back within the time of a warm load and one second.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from engine.config import DEMO_MODEL, EngineConfig
from engine.resolve import resolve
from engine.supervisor import EngineSupervisor
from scenarios.result import FaultOutcome, FaultResult, ResultDocument
from tests.benchmarks.load_bench.table import Row, not_run

TARGET = 3
TITLE = "the embedded engine under every kind of fault"
_LOADS = 5
_MATRIX_S = 900.0  # the run takes eight minutes
_ROOT = Path(__file__).parents[3]


def measure(quick: bool) -> list[Row]:
    """One matrix; where `quick` only of the faults that strike the engine."""
    load_s = statistics.median(asyncio.run(_warm_loads_s()))
    with tempfile.TemporaryDirectory(prefix="seatrial-matrix-") as name:
        document, why = _matrix(Path(name), quick)
    if document is None:
        return [not_run(TARGET, TITLE, why)]
    faults = document.summary.faults
    tried = [one for one in faults if one.outcome is not FaultOutcome.SKIPPED]
    stuck = [one.kind for one in tried if one.outcome is FaultOutcome.STUCK]
    slowest = max(tried, key=_back_s)
    ended = sum(document.summary.outcomes.values())
    note = f"of {len(faults)}; skipped: {', '.join(one.kind for one in faults if one.outcome is FaultOutcome.SKIPPED)}"
    return [
        Row(TARGET, "kinds brought about", len(tried), note=note),
        Row(TARGET, "kinds that left it stuck", len(stuck), "", 0, note=", ".join(stuck)),
        Row(TARGET, "requests without one outcome", abs(document.summary.planned - ended), "", 0, note=f"of {ended:,}"),
        Row(TARGET, "a warm load, median of 5", load_s, "s"),
        Row(TARGET, "longest way back into the SLO", _back_s(slowest), "s", round(load_s + 1.0, 2), note=slowest.kind),
    ]


def _back_s(one: FaultResult) -> float:
    return float("inf") if one.recovered_s is None else one.recovered_s


async def _warm_loads_s() -> list[float]:
    """Seconds from start to ready of an engine whose file the system has in memory."""
    config, _ = resolve(EngineConfig(model=DEMO_MODEL))
    loads_s = []
    for _ in range(_LOADS):
        with tempfile.TemporaryDirectory(prefix="seatrial-load-") as folder:
            engine = EngineSupervisor(config, lambda _: None, Path(folder) / "engine.log")
            begun_s = time.monotonic()
            await engine.start()
            loads_s.append(time.monotonic() - begun_s)
            await engine.stop()
    return loads_s


def _matrix(folder: Path, quick: bool) -> tuple[ResultDocument | None, str]:
    """The document of the run; None and its last words where there is none."""
    scenario = _ROOT / "scenarios" / "catalogue" / "resilience.toml"
    if quick:
        text = scenario.read_text().replace("[matrix]\n", '[matrix]\nfaults = ["engine.*"]\n', 1)
        scenario = folder / "engine.toml"
        scenario.write_text(text)
    command = (sys.executable, "-m", "console", "run", str(scenario), "--json", "--runs-dir", str(folder / "runs"))
    short = ("--duration", "2m") if quick else ()
    done = subprocess.run(
        [*command, *short], cwd=_ROOT, env=dict(os.environ), capture_output=True, timeout=_MATRIX_S, check=False
    )
    try:
        return msgspec.convert(json.loads(done.stdout), ResultDocument), ""
    except (ValueError, msgspec.ValidationError):
        return None, done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
