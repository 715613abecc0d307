"""The benchmark server (server.c), built when it is first needed and pinned to a core of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from tests.benchmarks.load_bench.errors import Unmeasured

_SOURCE = Path(__file__).with_name("server.c")


@dataclass(slots=True)
class Server:
    """A running one. `url` has no /v1."""

    process: subprocess.Popen[str]
    url: str
    core: int

    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """It does nothing at all; the kernel still takes its connections and what is sent to it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@cache  # before anything is pinned
def cores() -> tuple[int, int]:
    """The server's core and the generator's. Raises Unmeasured."""
    ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(ours) < 2:
        raise Unmeasured("it takes Linux and two cores, one for the server and one for the generator")
    return ours[0], ours[1]


@cache
def _built() -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise Unmeasured("the benchmark server is C and there is no compiler: install cc")
    source = _SOURCE.read_bytes()
    program = (
        Path(tempfile.gettempdir()) / f"seatrial-load-bench-{hashlib.sha256(source).hexdigest()[:16]}-{os.getuid()}"
    )
    if not program.exists():
        new = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            (compiler, "-O2", "-o", str(new), str(_SOURCE)), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unmeasured(f"the benchmark server does not compile: {done.stderr.strip()[-300:]}")
        new.replace(program)
    return program


@contextlib.contextmanager
def serving(tokens: int, interval_us: int = 0, first_us: int | None = None) -> Iterator[Server]:
    """A server of streams of `tokens` events: as fast as they are taken (0), or `interval_us` apart."""
    first = interval_us if first_us is None else first_us
    command = (str(_built()), str(tokens), str(interval_us), str(first))
    core, _ = cores()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        yield Server(process, f"http://127.0.0.1:{int(process.stdout.readline())}", core)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
