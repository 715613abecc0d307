"""Target 5: planted bugs are found by `seatrial run` with a [chaos] table, and shrunk to what a person can read.

Each search is a run of its own against a server of its own; without a bug nothing may be found. A failure that was
found is then replayed from its file, which must be NO-GO again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from scenarios.result import ChaosResult, ResultDocument, Verdict
from tests.benchmarks.load_bench.table import Row, not_run
from tests.planted.scenario import launch, write_scenario
from tests.planted.server import BUGS

TARGET = 5
TITLE = "chaos search: time to find planted bugs, and the smallest scenario of each"
MOST_MINUTES = 10.0
MOST_FAULTS = 2
MOST_REQUESTS = 5
_ROOT = Path(__file__).parents[3]


def measure(quick: bool) -> list[Row]:
    """The worst of all seeds for each bug, and what a sound server gets."""
    seeds = (1,) if quick else (1, 2, 3)
    rows: list[Row] = []
    for bug in BUGS[1:]:
        rows += _of_bug(bug, seeds)
    sound = [_search("none", seed, 60.0 if quick else 300.0)[0] for seed in seeds]
    found = [one.summary.chaos for one in sound if one is not None and one.summary.chaos is not None]
    wrong = sum(one.minimal is not None for one in found)
    explored = sum(one.explored for one in found)
    note = f"{explored} tries, {len(found)} of {len(seeds)} searches ended"
    rows.append(Row(TARGET, "none: failures found in a sound server", wrong if found else None, "", 0, note=note))
    return rows


def _of_bug(bug: str, seeds: tuple[int, ...]) -> list[Row]:
    smallest: list[ChaosResult] = []
    replayed = 0
    for seed in seeds:
        document, again = _search(bug, seed, MOST_MINUTES * 60)
        if document is not None and document.summary.chaos is not None and document.summary.chaos.minimal is not None:
            smallest.append(document.summary.chaos)
            replayed += again
    if not smallest:
        return [not_run(TARGET, bug, f"not found with seeds {seeds}")]
    minimal = [one.minimal for one in smallest if one.minimal is not None]
    words = "; ".join(f"{' + '.join(one.faults) or 'no fault'}, {one.requests} requests" for one in minimal)
    return [
        Row(TARGET, f"{bug}: found, of {len(seeds)} seeds", len(smallest), "", len(seeds), at_least=True, note=words),
        Row(TARGET, f"{bug}: found and shrunk", max(one.spent_s for one in smallest) / 60, "min", MOST_MINUTES),
        Row(TARGET, f"{bug}: faults", max(len(one.faults) for one in minimal), "", MOST_FAULTS),
        Row(TARGET, f"{bug}: requests", max(one.requests for one in minimal), "", MOST_REQUESTS),
        Row(TARGET, f"{bug}: replayed from its file, NO-GO again", replayed, "", len(smallest), at_least=True),
    ]


def _search(bug: str, seed: int, budget_s: float) -> tuple[ResultDocument | None, bool]:
    """The document of a search, and whether the file that it wrote fails again when it is replayed."""
    with tempfile.TemporaryDirectory(prefix="seatrial-chaos-") as name:
        folder = Path(name)
        document = _run(write_scenario(folder, budget_s), bug, seed, folder, budget_s + 120)
        minimal = None if document is None or document.summary.chaos is None else document.summary.chaos.minimal
        if minimal is None:
            return document, False
        again = _run(Path(minimal.path), bug, seed, folder, 120.0)
        return document, again is not None and again.verdict is Verdict.NO_GO


def _run(scenario: Path, bug: str, seed: int, folder: Path, limit_s: float) -> ResultDocument | None:
    command = (sys.executable, "-m", "console", "run", str(scenario), "--launch", launch(bug, folder), "--json")
    options = ("--seed", str(seed), "--runs-dir", str(folder / "runs"), "--preflight", "0.5s")
    done = subprocess.run(
        [*command, *options], cwd=_ROOT, env=dict(os.environ), capture_output=True, timeout=limit_s, check=False
    )
    try:
        return msgspec.convert(json.loads(done.stdout), ResultDocument)
    except (ValueError, msgspec.ValidationError):
        print(done.stderr.decode("utf-8", "replace")[-2000:], file=sys.stderr)
        return None
