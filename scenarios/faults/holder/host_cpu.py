"""host.cpu: child processes that use up processor time, each a share of one core."""

from __future__ import annotations

import os
import resource
import signal
import time

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.parent import die_with_parent

_TURN_S = 0.05  # of which a share is work: short beside a second, long beside a scheduler's turn


def hog_cpu(hold: Hold) -> None:
    """As many children as are asked for; they are gone when this returns, and with this process at the latest."""
    children: list[int] = []
    try:
        for _ in range(int(hold.number("processes"))):
            children.append(_start(hold.number("load")))  # noqa: PERF401  # what has started is ended also when one fails
        hold.begun()
        hold.wait()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        hold.facts |= {"processes": len(children), "cpu_s": round(spent.ru_utime + spent.ru_stime, 3)}


def _start(load: float) -> int:
    holder = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(holder)
        while os.getppid() == holder:
            _work(load * _TURN_S)
            time.sleep((1 - load) * _TURN_S)
    finally:
        os._exit(0)


def _work(for_s: float) -> None:
    """Use so much processor time; less of it where others want the core as well."""
    by_s = time.monotonic() + for_s
    while time.monotonic() < by_s:
        sum(range(1000))
