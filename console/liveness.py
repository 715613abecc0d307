"""Whether a run's process is still there: it holds a lock that the system releases when the process ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # no POSIX locks on this system: judged by the journal's age instead
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = "runner.lock"
_FRESH_S = 10.0


@contextmanager
def hold(run_folder: Path) -> Iterator[None]:
    """Mark the run in `run_folder` as alive for as long as this process holds it."""
    run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(run_folder / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_alive(journal: Path, now: float | None = None) -> bool:
    """Whether the run that writes `journal` goes on; ask only for journals that do not say "done".

    Without a lock to ask (made by other code, or no POSIX locks): whether the journal was written in the last seconds.
    """
    lock = journal.parent / LOCK_NAME
    if fcntl is None or not lock.exists():
        newest = max((f.stat().st_mtime for f in journal.parent.glob(f"{journal.name}*")), default=0.0)
        return (time.time() if now is None else now) - newest < _FRESH_S
    handle = os.open(lock, os.O_RDWR)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
