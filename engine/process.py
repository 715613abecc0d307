"""What a child process does so that it never outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to SIGKILL this process when its parent goes; leave at once if it already has.

    Elsewhere the closed pipe or socket to the parent does the same, a read later.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            log("process", "no_pdeathsig", errno=ctypes.get_errno())
    if os.getppid() != parent_pid:
        os._exit(0)


def yield_to_others() -> None:
    """Lower the priority of this thread and of those that it starts, where the system can (Linux)."""
    if sys.platform == "linux":
        os.nice(5)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, seconds; 0 when it is gone."""
    import psutil  # not before the model loads

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def log(part: str, event: str, **details: object) -> None:
    """One line to stderr: `seatrial-engine part=api event=ready port=8080`. Never hand it prompt text."""
    words = [f"{key}={_quoted(value)}" for key, value in details.items()]
    sys.stderr.write(" ".join(["seatrial-engine", f"part={part}", f"event={event}", *words]) + "\n")
    sys.stderr.flush()


def _quoted(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return repr(text) if not text or not text.isprintable() or " " in text or "=" in text else text
