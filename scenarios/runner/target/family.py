"""A process and what it has started, as parts that a fault may strike."""

from __future__ import annotations

import time

import psutil

_FRESH_S = 1.0
"""Looking for descendants goes through every process of the machine, which takes milliseconds."""


class Family:
    """`server`, and its descendants as `child-1` and so on."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._children: list[psutil.Process] = []
        self._looked_s = float("-inf")

    @property
    def lives(self) -> bool:
        return _runs(self.process)

    def parts(self) -> dict[str, int]:
        """Process ids by part, empty once the server is gone. What was started in the last second may be missing."""
        if not self.lives:
            return {}
        now_s = time.monotonic()
        if now_s - self._looked_s >= _FRESH_S:
            self._looked_s = now_s
            self._children = descendants(self.process)
        children = {f"child-{number}": one.pid for number, one in enumerate(self._children, 1) if _runs(one)}
        return {"server": self.process.pid, **children}


def _runs(process: psutil.Process) -> bool:
    """Whether it is still this process: its number may have been given out again."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Those that live now; none where the process is gone."""
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []
