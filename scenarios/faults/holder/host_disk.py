"""host.disk_full: the runner may make no file longer than its journal is now, and a little more.

The limit is the kernel's RLIMIT_FSIZE of the runner's process, so it holds for every file that it writes: a longer
write fails as if the disk were full (EFBIG, which SQLite reports as a disk I/O error). Processes that the runner starts
meanwhile, such as an engine that is started again, have the limit too, until the fault is over.
"""

from __future__ import annotations

import os
import resource
import sys

from scenarios.faults.holder import process, undos
from scenarios.faults.holder.hold import Hold
from scenarios.faults.injector import FaultRefused


def fill_disk(hold: Hold) -> None:
    """Neither file of the journal, database or log, can grow by more than `spare` bytes."""
    if sys.platform != "linux":
        raise FaultRefused("another process's limits can be set on Linux only; run it there")
    runner = process.find(hold.subject.runner_pid)
    if runner is None:
        raise FaultRefused("the runner is gone")
    try:
        soft, hard = resource.prlimit(runner.pid, resource.RLIMIT_FSIZE)
        bound = bound_of(_sizes(hold.subject.journal), int(hold.number("spare")), soft)
        hold.to_undo(undos.file_size(runner, bound, soft))
        resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (bound, hard))
    except PermissionError as error:
        raise FaultRefused(f"the runner's file size limit cannot be set ({error.strerror})") from error
    hold.facts["limit"] = bound
    hold.begun()
    hold.wait()


def bound_of(sizes: list[int], spare: int, soft: int) -> int:
    """The limit: beyond the shorter of the two files, which is the one that it stops first. Pure."""
    bound = min(sizes) + spare
    return bound if soft == resource.RLIM_INFINITY else min(bound, soft)


def _sizes(journal: str) -> list[int]:
    found = []
    for name in (journal, f"{journal}-wal"):
        try:
            found.append(os.stat(name).st_size)
        except FileNotFoundError:
            continue
    if not found:
        raise FaultRefused(f"{journal}: no journal there")
    return found
