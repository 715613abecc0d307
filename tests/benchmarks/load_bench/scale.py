"""A million requests: what they take of memory while they are sent, and of time and memory when they are reported."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario, Slo, Workload
from scenarios.journal import JournalWriter
from scenarios.observation import Judged, Observation, Outcome
from scenarios.rebuild import INSTRUMENT, SCENARIO
from scenarios.request import Expectation, PlannedRequest
from scenarios.result import RunInfo
from scenarios.runs import journal_path
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.server import serving

_RUN = "r1"
_TOKENS = 8
_SAMPLE_S = 0.25
_MS = 1_000_000
_SCENARIO = """
name = "scale"
about = "as many as there may be"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = {rate}
duration = "{duration:g}s"
[slo]
ttft_s = 1.0
[[gates]]
metric = "ttft_s.p95"
max = 1.0
[[gates]]
metric = "itl_s.p99"
max = 1.0
[[gates]]
metric = "goodput"
min = 0.5
"""


@dataclass(slots=True)
class Memory:
    """The most that each process of a run took, MB of resident memory."""

    runner: float = 0.0
    workers: float = 0.0
    judge: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """What so many requests took. run_s: the whole command, planning and judging included."""

    requests: int
    run_s: float
    memory: Memory
    report_s: float
    report_mb: float
    journal_mb: float
    outcomes: dict[str, int] = field(default_factory=dict)


def sent(requests: int, rate: int) -> Scale:
    """Really sent, at so many a second, by `seatrial run` to the benchmark server."""
    with serving(tokens=_TOKENS) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenario = folder / "scale.toml"
        scenario.write_text(_SCENARIO.format(rate=rate, duration=requests / rate), encoding="utf-8")
        options = ("--target", server.url, "--run-id", _RUN, "--runs-dir", name, "--json", "--plain")
        begun = time.monotonic()
        command = [sys.executable, "-m", "console", "run", str(scenario), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with _watched(process.pid) as memory:
            out, error = process.communicate()
        run_s = time.monotonic() - begun
        if process.returncode not in (0, 1, 3, 4):
            raise Unmeasured(f"the run ended with exit {process.returncode}: {error[-500:]}")
        report_s, report_mb = _reported(folder)
        outcomes = {name: count for name, count in json.loads(out)["summary"]["outcomes"].items() if count}
        return Scale(requests, run_s, memory, report_s, report_mb, _size_mb(folder), outcomes)


def made_up(requests: int) -> Scale:
    """Only the journal: rows as a run writes them, without a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.monotonic()
        _write(folder, requests)
        run_s = time.monotonic() - begun
        report_s, report_mb = _reported(folder)
        return Scale(requests, run_s, Memory(), report_s, report_mb, _size_mb(folder))


def _write(folder: Path, count: int) -> None:
    rate = 5000.0
    scenario = Scenario(
        name="scale",
        about="",
        workload=Workload((("it-ops", 1.0),)),
        arrivals=Arrivals(ArrivalKind.CONSTANT, count / rate, rate=rate),
        slo=Slo(ttft_s=1.0),
        gates=(
            GateSpec("ttft_s.p95", maximum=1.0),
            GateSpec("itl_s.p99", maximum=1.0),
            GateSpec("goodput", minimum=0.5),
        ),
    )
    writer = JournalWriter(journal_path(folder, _RUN))
    writer.set_meta(SCENARIO, msgspec.json.encode(scenario).decode())
    writer.set_meta(INSTRUMENT, "{}")
    writer.set_run(
        RunInfo(
            id=_RUN, scenario="scale", seed=1, plan_hash="00", target="nobody", model="none", started_at="",
            environment={},
        )
    )  # fmt: skip
    for start in range(0, count, 2000):
        part = range(start, min(count, start + 2000))
        writer.add_plan(_request(index, rate) for index in part)
        writer.add_observations(_observation(index, rate) for index in part)
        writer.add_judged(Judged(index=index, correct=True) for index in part)
        writer.commit()
    writer.close()


def _request(index: int, rate: float) -> PlannedRequest:
    text = f"Unit {index} reports fault {index % 97}; what is to be done?"
    body = json.dumps({"model": "none", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    return PlannedRequest(
        index=index,
        due_ns=round(index / rate * 1e9),
        path="/v1/chat/completions",
        body=body,
        profile="it-ops",
        prompt_text=text,
        expect=Expectation(answer="restart it"),
    )


def _observation(index: int, rate: float) -> Observation:
    due = round(index / rate * 1e9)
    first = due + (20 + index * 7919 % 400) * _MS
    events = tuple(first + at * (5 + index % 11) * _MS for at in range(_TOKENS))
    return Observation(
        index=index,
        due_ns=due,
        outcome=Outcome.OK,
        end_ns=events[-1] + _MS,
        sent_ns=due + 50_000,
        first_ns=first,
        answer_ns=first,
        last_ns=events[-1],
        event_ns=events,
        status=200,
        prompt_tokens=20,
        completion_tokens=_TOKENS,
        finish_reason="stop",
        answer=f"restart unit {index}",
    )


def _reported(folder: Path) -> tuple[float, float]:
    """(seconds, MB) of a process that makes the report from the journal's rows, not from the document in it."""
    program = (
        "import resource, sys; from pathlib import Path; from scenarios.journal import JournalReader;"
        "from scenarios.rebuild import rebuild; reader = JournalReader(Path(sys.argv[1])); rebuild(reader);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(journal_path(folder, _RUN))], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unmeasured(f"the report cannot be made: {done.stderr[-500:]}")
    return time.monotonic() - begun, int(done.stdout) / 1e3


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in (folder / _RUN).iterdir()) / 1e6


@contextmanager
def _watched(pid: int) -> Iterator[Memory]:
    """The memory of a process and of its children together, looked at four times a second."""
    memory, over = Memory(), threading.Event()
    thread = threading.Thread(target=_watch, args=(pid, memory, over), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def _watch(pid: int, memory: Memory, over: threading.Event) -> None:
    while not over.wait(_SAMPLE_S):
        try:
            runner = psutil.Process(pid)
            memory.runner = max(memory.runner, _peak_mb(runner.pid))
            peaks = [("scenarios.load.worker" in child.cmdline(), _peak_mb(child.pid)) for child in runner.children()]
            memory.workers = max(memory.workers, sum(peak for is_worker, peak in peaks if is_worker))
            memory.judge = max(memory.judge, *(peak for is_worker, peak in peaks if not is_worker), 0.0)
        except (psutil.NoSuchProcess, OSError, StopIteration):
            continue  # it is about to end


def _peak_mb(pid: int) -> float:
    """The most that a process ever took (the kernel's high-water mark)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
