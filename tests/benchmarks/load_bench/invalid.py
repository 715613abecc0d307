"""Target 6: a throttled load generator is found out (INVALID), a clean one is not accused.

Run: python tests/benchmarks/load_bench/invalid.py [--quick] [--runs N]. Short runs against a server of known TTFT with
a gate near it, clean and throttled in turn; a run in which the server itself was late (by its own stamps, 10 ms at p95)
is set aside and made again, because then nothing about it is known. The ways to throttle, one after another:

  quota   the worker is stopped for 20 to 80 % of every 100 ms, as a CPU quota does
  stolen  the worker shares its core with 16 to 32 spinning processes of a higher weight
  gc      its garbage collector runs again and again
  runner  the runner's own loop stands still (for information: workers have their plan, so nothing need be wrong)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
import psutil

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario, Workload
from scenarios.journal import JournalReader
from scenarios.result import ResultDocument, Verdict
from scenarios.runner import RunOptions, run_trial
from scenarios.runs import journal_path
from scenarios.stats import binomial
from scenarios.tick import Event, Tick
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.table import Row

TARGET = 6
TITLE = "INVALID where, and only where, the generator was throttled"
MODES = ("quota", "stolen", "gc")
RUNNER = "runner"
_TTFT_MS, _EVENTS, _GAP_MS = 20.0, 16, 4.0
_BOUND_S = 0.04
_RATE, _RUN_S, _PREFLIGHT_S = 300.0, 1.5, 0.5
_PERIOD_S = 0.1
_SERVER_LATE_MS, _TRIES = 10.0, 10
_SPINNERS = (16, 32)
_LOW_WEIGHT = 10  # niceness of a worker among them; at equal weight Linux wakes it within 4 ms, which is no error here
# A session each: Linux may share a core between sessions, and then all of one session are one competitor. They end when
# the process does that they came from.
_SPIN = """
import os, sys
count, core, parent = int(sys.argv[1]), int(sys.argv[2]), os.getpid()
for _ in range(count):
    if os.fork() == 0:
        os.setsid()
        os.sched_setaffinity(0, {core})
        while os.getppid() == parent:
            pass
        os._exit(0)
os.wait()
"""
_HERE = Path(__file__).resolve().parent


@dataclass
class Tally:
    """Runs of one kind, and how many of them came out INVALID."""

    runs: int = 0
    aside: int = 0
    invalid: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    odd_ones: list[str] = field(default_factory=list)

    def add(self, document: ResultDocument, truth: dict[str, float], expected: bool | None) -> None:
        self.runs += 1
        self.invalid += document.verdict is Verdict.INVALID
        self.verdicts[document.verdict.value] = self.verdicts.get(document.verdict.value, 0) + 1
        if expected is not None and (document.verdict is Verdict.INVALID) is not expected:
            facts = document.summary.instrument
            keys = ("noise_floor_p99_s", "send_lag_p99_s", "send_lag_max_s", "stamp_lag_p99_s", "stall_max_s")
            seen = ", ".join(f"{key} {facts.get(key)}" for key in (*keys, "stalled_share", "steal"))
            late = ", ".join(f"{name} {late_ms:.1f} ms late" for name, late_ms in truth.items())
            self.odd_ones.append(f"{document.why} [{seen}; in truth {late}]")

    @property
    def interval(self) -> tuple[float, float]:
        return binomial.interval(self.invalid, self.runs, 0.95)

    @property
    def percent(self) -> float:
        return 100.0 * self.invalid / self.runs if self.runs else float("nan")

    def __str__(self) -> str:
        low, high = self.interval
        verdicts = ", ".join(f"{name} {count}" for name, count in sorted(self.verdicts.items()))
        aside = f"; {self.aside} set aside" if self.aside else ""
        return f"{self.invalid} of {self.runs} INVALID (95 % interval {low:.1%} to {high:.1%}); {verdicts}{aside}"


def measure(quick: bool) -> list[Row]:
    """The shares that are asked for, and each way to throttle by itself."""
    found = tallies(20 if quick else 200)
    clean, throttled = found.pop("clean"), found.pop("throttled")
    rows = [
        Row(TARGET, "throttled runs found out", throttled.percent, "%", 99.0, True, str(throttled)),
        Row(TARGET, "clean runs accused", clean.percent, "%", 1.0, note=str(clean)),
    ]
    return rows + [
        Row(TARGET, f"INVALID: {name}", tally.percent, "%", note=str(tally)) for name, tally in found.items()
    ]


def tallies(runs: int) -> dict[str, Tally]:
    """By name: clean, throttled, each mode, runner; so many clean runs, and as many throttled ones."""
    rng = random.Random(6)
    clean, modes = Tally(), {mode: Tally() for mode in (*MODES, RUNNER)}
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as folder, _known_server() as url:
        again = itertools.count()

        def add(tally: Tally, expected: bool | None, mode: str = "", amount: float = 0.0) -> None:
            for _ in range(_TRIES):
                one = _Run(url, Path(folder), f"run-{next(again)}")
                document = one.go(mode, amount)
                truth = one.truth()
                if truth["server"] <= _SERVER_LATE_MS:
                    tally.add(document, truth, expected)
                    return
                tally.aside += 1
            raise Unmeasured(
                f"the benchmark's own server was late {_TRIES} times in turn; end other work on this machine"
            )

        for number in range(runs):
            add(clean, False)
            mode = MODES[number % len(MODES)]
            add(modes[mode], True, mode, rng.random())
            if number % 10 == 0:
                add(modes[RUNNER], None, RUNNER)
            said = f"{number + 1} of {runs}: clean {clean.verdicts}, {mode} {modes[mode].verdicts}"
            print(said, file=sys.stderr, flush=True)
    throttled = Tally()
    for mode in MODES:
        throttled.runs += modes[mode].runs
        throttled.invalid += modes[mode].invalid
        throttled.aside += modes[mode].aside
    return {"clean": clean, "throttled": throttled, **modes}


class _Run:
    """One trial in this process, its worker disturbed from outside while it sends."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self._trigger = folder / f"{name}.storm"
        self._over = threading.Event()
        self._worker = 0
        self._disturbing: threading.Thread | None = None
        self._on_tick: Callable[[Tick], None] = lambda tick: None
        scenario = Scenario(
            name=name,
            about="",
            workload=Workload(mix=(("it-ops", 1.0),)),
            arrivals=Arrivals(ArrivalKind.CONSTANT, _RUN_S, rate=_RATE),
            gates=(GateSpec("ttft_s.p90", maximum=_BOUND_S),),
            timeout_s=10.0,
        )
        self._options = RunOptions(
            scenario=scenario, seed=1, runs_dir=folder, run_id=name, target=url, preflight_s=_PREFLIGHT_S
        )

    def go(self, mode: str = "", amount: float = 0.0) -> ResultDocument:
        """The document of the run, throttled by `mode`; `amount`, 0..1, says how much."""
        disturb = {
            "quota": lambda: self._quota(0.2 + 0.6 * amount),
            "stolen": lambda: self._steal(round(_SPINNERS[0] + (_SPINNERS[1] - _SPINNERS[0]) * amount)),
            "gc": self._storm,
        }.get(mode)

        def on_event(event: Event) -> None:
            if event.kind == "phase.run" and disturb is not None:
                self._worker = next(
                    child.pid for child in psutil.Process().children() if "scenarios.load.worker" in child.cmdline()
                )
                self._disturbing = threading.Thread(target=disturb)
                self._disturbing.start()

        def on_tick(tick: Tick) -> None:
            if mode == RUNNER and tick.state == "running":
                time.sleep(0.4)

        with _storm_ready(self._trigger) if mode == "gc" else contextlib.nullcontext():
            try:
                return asyncio.run(run_trial(self._options, on_tick, on_event, asyncio.Event()))
            finally:
                self._over.set()
                if self._disturbing is not None:
                    self._disturbing.join()

    def truth(self) -> dict[str, float]:
        """What the worker sent late and the server answered late by its own stamps, p95 in ms."""
        with JournalReader(journal_path(self._options.runs_dir, self._options.run_id)) as reader:
            seen = [one for one in reader.observations() if one.first_ns is not None and one.sent_ns is not None]
        if not seen:
            return {"server": 0.0}
        read, written = np.array([[int(word) for word in one.answer.split()[:2]] for one in seen]).T
        sent = np.array([(one.sent_ns or 0) - one.due_ns for one in seen])
        late = {"sent": sent, "server": written - read - _TTFT_MS * 1e6}
        return {name: float(np.quantile(late_ns, 0.95)) / 1e6 for name, late_ns in late.items()}

    def _quota(self, off: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            while not self._over.is_set():
                os.kill(self._worker, signal.SIGSTOP)
                time.sleep(off * _PERIOD_S)
                os.kill(self._worker, signal.SIGCONT)
                self._over.wait((1.0 - off) * _PERIOD_S)

    def _steal(self, count: int) -> None:
        core = max(os.sched_getaffinity(0))
        spinners = subprocess.Popen([sys.executable, "-S", "-c", _SPIN, str(count), str(core)])
        try:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self._worker, _LOW_WEIGHT)
                os.sched_setaffinity(self._worker, {core})
            self._over.wait()
        finally:
            spinners.kill()
            spinners.wait()

    def _storm(self) -> None:
        self._trigger.touch()
        self._over.wait()
        self._trigger.unlink()


@contextmanager
def _storm_ready(trigger: Path) -> Iterator[None]:
    """Workers that are started now carry a collector that storms once `trigger` appears."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(_HERE / "gc_storm") + (os.pathsep + before if before else "")
    os.environ["LOAD_BENCH_GC_TRIGGER"] = str(trigger)
    try:
        yield
    finally:
        del os.environ["LOAD_BENCH_GC_TRIGGER"]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _known_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        words = [str(listener.fileno()), str(_TTFT_MS), str(_EVENTS), str(_GAP_MS)]
        process = subprocess.Popen(
            [sys.executable, str(_HERE / "known_server.py"), *words],
            stdin=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        yield url
    finally:
        process.kill()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 clean and 20 throttled runs instead of 200 each")
    parser.add_argument("--runs", type=int, metavar="N", help="so many of each")
    args = parser.parse_args()
    try:
        found = tallies(args.runs or (20 if args.quick else 200))
    except Unmeasured as error:
        print(f"invalid.py: {error}", file=sys.stderr)
        return 2
    for name, tally in found.items():
        print(f"{name:<10} {tally}")
        for line in tally.odd_ones:
            print(f"           {line}")
    met = found["throttled"].percent >= 99.0 and found["clean"].percent <= 1.0
    print(f"target {TARGET}: {'met' if met else 'not met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
