"""The targets of the faults: what the proxy costs and how true it is, and what becomes of everything afterwards.

Run: python tests/benchmarks/faults.py --all. Two tables go to stdout, the targets and the matrix of all faults;
progress goes to stderr. What cannot be measured here leaves its rows "not run" and says why. Each target is a module of
faults_bench with TARGET (its number), TITLE, `measure(quick) -> list[Row]` and perhaps `table() -> str`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import faults_bench
from tests.benchmarks.load_bench.command import command


def targets() -> dict[int, ModuleType]:
    """The modules of faults_bench that measure one, by its number. Raises ValueError where two have the same."""
    found: dict[int, ModuleType] = {}
    for entry in pkgutil.iter_modules(faults_bench.__path__):
        module = importlib.import_module(f"{faults_bench.__name__}.{entry.name}")
        number = getattr(module, "TARGET", None)
        if number is None:
            continue
        if number in found:
            raise ValueError(f"{module.__name__} and {found[number].__name__} both measure target {number}")
        found[number] = module
    return found


if __name__ == "__main__":
    sys.exit(command("faults.py", __doc__, targets()))
