"""Target 3: the embedded engine under every kind of fault in turn, by `seatrial run resilience`, and what is left.

Where there is a llama-server ($SEATRIAL_LLAMA_SERVER or on the PATH) it goes through the same, and stands beside it in
the matrix; it is not judged.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from engine.config import DEMO_MODEL
from scenarios.faults.kinds import KINDS
from scenarios.result import FaultOutcome, FaultResult, ResultDocument
from scenarios.runner.options import RunOptions
from scenarios.runner.target import EmbeddedTarget
from scenarios.scenario_file import find_scenario
from tests.benchmarks.engine_bench.peers import find_peers
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.table import Row

TARGET = 3
TITLE = "the embedded engine under the matrix of all faults; the matrix itself, beside llama-server's"
_SPARE_S = 1.0
_SLOT_S = 10.0
_QUICK = ("network.reset", "engine.kill", "engine.stop", "engine.model_missing", "clients.herd")
_LIMIT_S = 900.0
_LOADS = 3
_LEFT = (FaultOutcome.STUCK, FaultOutcome.UNKNOWN)
_ROOT = Path(__file__).parents[3]
_matrix: list[str] = []  # of the last measurement


def measure(quick: bool) -> list[Row]:
    """Eight minutes for each server; one where `quick`, with some of the kinds."""
    kinds = _QUICK if quick else tuple(KINDS)
    with tempfile.TemporaryDirectory(prefix="seatrial-matrix-") as name:
        folder = Path(name)
        scenario = _scenario(folder, kinds)
        warm_s = asyncio.run(_warm_load_s(folder))
        ours = _run(scenario, folder)
        peer = find_peers(None, None, None).llama_server
        theirs = None if peer is None else _run(scenario, folder, _launch(peer))
    _matrix[:] = _side_by_side(ours, theirs)
    return _rows(ours, len(kinds), warm_s)


def table() -> str:
    """The matrix that was measured last, as Markdown."""
    return "\n".join(_matrix)


def _rows(document: ResultDocument, kinds: int, warm_s: float) -> list[Row]:
    summary = document.summary
    tried = [fault for fault in summary.faults if fault.outcome is not FaultOutcome.SKIPPED]
    left = [fault.kind for fault in tried if fault.outcome in _LEFT]
    back = sorted(((fault.recovered_s or 0.0, fault.kind) for fault in tried), reverse=True)
    note = f"{len(tried)} of {kinds} kinds were possible here" + "".join(f"; {kind}" for kind in left)
    missed = abs(summary.planned - sum(summary.outcomes.values()))
    ends = ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.items() if count)
    return [
        Row(TARGET, "faults after which it was stuck", len(left), "", 0, note=note),
        Row(TARGET, "faults that were not undone", sum(not fault.undone for fault in tried), "", 0),
        Row(TARGET, "requests without exactly one outcome", missed, "", 0, note=f"{summary.planned:,}: {ends}"),
        Row(TARGET, "slowest way back into the SLO", back[0][0], "s", round(warm_s + _SPARE_S, 2), note=back[0][1]),
        Row(TARGET, "a warm load, median", warm_s, "s"),
    ]


def _side_by_side(ours: ResultDocument, theirs: ResultDocument | None) -> list[str]:
    others = {} if theirs is None else {fault.kind: fault for fault in theirs.summary.faults}
    head = ("| fault | embedded engine | llama-server |", "|---|---|---|")
    rows = (f"| `{one.kind}` | {_words(one)} | {_words(others.get(one.kind))} |" for one in ours.summary.faults)
    return [*head, *rows]


def _words(fault: FaultResult | None) -> str:
    if fault is None:
        return "not run"
    words = [fault.outcome.value if fault.outcome is not FaultOutcome.LOST else ""]
    if fault.outcome is FaultOutcome.RECOVERED and fault.recovered_s is not None:
        words = [f"recovered in {fault.recovered_s:.2g} s"]
    counted = (("lost", fault.lost), ("shed", fault.shed), ("stuck", fault.stuck))
    words += [f"{what} {count}" for what, count in counted if count]
    return ", ".join(filter(None, words))


def _scenario(folder: Path, kinds: tuple[str, ...]) -> Path:
    """The one of the catalogue, with these kinds and as long as that takes."""
    text = find_scenario("resilience").source
    for old, new in (
        ('duration = "8m"', f'duration = "{len(kinds) * _SLOT_S:g}s"'),
        ("[matrix]\n", f"[matrix]\nfaults = {json.dumps(kinds)}\n"),
    ):
        if text.count(old) != 1:
            raise Unmeasured(f"the scenario of the catalogue does not say {old!r} any more")
        text = text.replace(old, new)
    path = folder / "resilience.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _launch(server: Path) -> str:
    # Repacked weights crash llama.cpp at the first prompt of a Q8_0 model; see docs/engine.md.
    slots = find_scenario("resilience").engine.slots
    options = f"-m {DEMO_MODEL} --alias demo --no-repack -np {slots} -c {slots * 1024} --host 127.0.0.1 --port {{port}}"
    return f"{shlex.quote(str(server))} {options}"


def _run(scenario: Path, folder: Path, launch: str = "") -> ResultDocument:
    command = [sys.executable, "-m", "console", "run", str(scenario), "--json", "--runs-dir", str(folder / "runs")]
    if launch:
        command += ["--launch", launch]
    done = subprocess.run(command, cwd=_ROOT, env=dict(os.environ), capture_output=True, timeout=_LIMIT_S, check=False)
    try:
        return msgspec.convert(json.loads(done.stdout), ResultDocument)
    except (ValueError, msgspec.ValidationError) as error:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise Unmeasured(f"the run came to no result (exit {done.returncode}): {said}") from error


async def _warm_load_s(folder: Path) -> float:
    """From the order to start until it serves, with the model's file in memory; the median of some."""
    taken = []
    for number in range(_LOADS + 1):
        options = RunOptions(find_scenario("resilience"), 1, folder, f"load-{number}")
        target = EmbeddedTarget(options, lambda _: None)
        begun_s = time.monotonic()
        await target.start()
        taken.append(time.monotonic() - begun_s)
        await target.stop()
    return statistics.median(taken[1:])
