"""Memory that belongs to a process alone, resident or swapped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.benchmarks.engine_bench.errors import Unmeasured


def private_bytes(processes: Iterable[psutil.Process]) -> int:
    """RssAnon + VmSwap of all of them, from /proc; mapped files are not in it. Raises Unmeasured without /proc."""
    if not Path("/proc/self/status").exists():
        raise Unmeasured("RssAnon and VmSwap are read from /proc/PID/status, which only Linux has")
    total_kib = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith(("RssAnon:", "VmSwap:")):
                    total_kib += int(line.split()[1])
    return total_kib * 1024
