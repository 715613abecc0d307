"""Where a measurement was made: enough to make sense of its numbers elsewhere."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from engine.config import usable_cores
from tests.benchmarks.engine_bench.peers import ROOT, Peers
from tests.benchmarks.engine_bench.table import LOAD


def machine_facts(peers: Peers, threads: int) -> dict[str, str]:
    """Name to value; read when a target starts, so that the load average is the one before it."""
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    return {
        "CPU": f"{_cpu_model()}, {usable_cores()} cores",
        "GPU": gpus() or "none",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        LOAD: loads,
        "threads of every server": str(threads),
        "llama-cpp-python": importlib.metadata.version("llama-cpp-python"),
        "llama-server": " ".join((_version(peers.llama_server), "--no-repack", *peers.llama_server_args)),
        "commit": _line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]) or "unknown",
    }


def gpus() -> str:
    """Those that ggml lists, as our engine was built; empty: none. Asked in a process of its own: a driver can hang."""
    ask = "from engine.decode.bindings import devices; print('; '.join(d.description for d in devices() if d.is_gpu))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(program: Path | None) -> str:
    return _line([str(program), "--version"]).removeprefix("version: ") if program and program.exists() else "not here"


def _line(command: list[str]) -> str:
    """First line a short command prints, on stdout or stderr; empty when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line for line in (done.stdout + done.stderr).splitlines() if line), "")
