"""Whether a run's process is still there: it holds a lock that the system releases when the process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from scenarios.journal import JournalReader

try:
    import fcntl
except ImportError:  # no POSIX locks on this system: judged by the journal's age instead
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = "runner.lock"


@contextmanager
def hold(run_folder: Path) -> Iterator[None]:
    """Mark the run in `run_folder` as alive for as long as this process holds it."""
    run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(run_folder / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            fcntl.lockf(handle, fcntl.LOCK_EX)  # waits for a reader that is just looking
        yield
    finally:
        os.close(handle)


def is_alive(journal: Path) -> bool:
    """Whether the run that writes `journal` goes on; ask only for journals that do not say "done".

    A run that another program made holds no lock: then its process id decides, which the journal knows.
    """
    lock = journal.parent / LOCK_NAME
    if fcntl is None or not lock.exists():
        return _has_process(journal)
    handle = os.open(lock, os.O_RDWR)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _has_process(journal: Path) -> bool:
    with JournalReader(journal) as reader:
        text = reader.meta("runner_pid") or ""
    return text.isdecimal() and running(int(text))


def running(pid: int) -> bool:
    """Whether a process of that number is at work; one that has ended and waits for its parent is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
