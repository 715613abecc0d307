"""The load generator's targets, measured beside its peers. Run: python tests/benchmarks/load.py --all

The table goes to stdout, progress to stderr. A peer that is not here leaves its rows "not run" and says how to get it.
Each target is a module of load_bench with TARGET (its number), TITLE and `measure(quick) -> list[Row]`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.load_bench import (
    arrivals,
    capacity,
    gates,
    invalid,
    journal,
    omitted,
    sends,
    stalls,
    stamps,
    throughput,
    traces,
    warmup,
)
from tests.benchmarks.load_bench.command import command

TARGETS: dict[int, ModuleType] = {
    module.TARGET: module
    for module in (
        sends,
        stamps,
        throughput,
        stalls,
        omitted,
        invalid,
        arrivals,
        traces,
        gates,
        capacity,
        journal,
        warmup,
        journal,
    )
}


if __name__ == "__main__":
    sys.exit(command("load.py", __doc__, TARGETS))
