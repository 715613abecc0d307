"""A process that is known by more than its number: numbers are given out again."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_STATE, _BORN = 0, 19  # fields of /proc/PID/stat after the name, from 0


@dataclass(frozen=True, slots=True)
class Process:
    """One process. born: when it started, in a unit of the system's own; with the pid it is unique."""

    pid: int
    born: float


def find(pid: int) -> Process | None:
    """The process that has this pid now; None where there is none, or only its zombie."""
    born = _born(pid)
    return None if born is None else Process(pid, born)


def lives(process: Process) -> bool:
    """Whether it still runs."""
    return _born(process.pid) == process.born


def stands(process: Process) -> bool:
    """Whether it is stopped, or gone. A signal to stop is obeyed a moment after it was sent."""
    found = _look(process.pid)
    return found is None or found.born != process.born or found.stopped


def send(process: Process, number: signal.Signals) -> bool:
    """Signal this process and no other; False where it is gone. Raises PermissionError where it is somebody else's."""
    if not hasattr(os, "pidfd_open"):
        if not lives(process):
            return False
        os.kill(process.pid, number)
        return True
    try:
        descriptor = os.pidfd_open(process.pid)
    except (ProcessLookupError, OverflowError):
        return False
    try:
        if not lives(process):  # asked after the descriptor was opened: from here on it cannot be given out again
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


class _Look(NamedTuple):
    born: float
    stopped: bool


def _born(pid: int) -> float | None:
    found = _look(pid)
    return None if found is None else found.born


def _look(pid: int) -> _Look | None:
    if pid <= 1:  # neither groups nor the system's first process
        return None
    if sys.platform != "linux":
        return _look_elsewhere(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] in (b"Z", b"X") else _Look(float(fields[_BORN]), fields[_STATE] in (b"T", b"t"))


def _look_elsewhere(pid: int) -> _Look | None:
    import psutil  # only where the system itself cannot be asked

    try:
        process = psutil.Process(pid)
        state = process.status()
        born = float(process.create_time())
    except psutil.Error:
        return None
    return None if state == psutil.STATUS_ZOMBIE else _Look(born, state == psutil.STATUS_STOPPED)
