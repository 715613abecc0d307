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
        self._parts: dict[str, int] = {}
        self._looked_s = float("-inf")

    @property
    def lives(self) -> bool:
        try:
            return bool(self.process.is_running()) and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def parts(self) -> dict[str, int]:
        """Process ids by part, at most a second old; empty once the server is gone."""
        if not self.lives:
            return {}
        now_s = time.monotonic()
        if now_s - self._looked_s >= _FRESH_S:
            self._looked_s = now_s
            children = enumerate(descendants(self.process), 1)
            self._parts = {"server": self.process.pid, **{f"child-{number}": one.pid for number, one in children}}
        return dict(self._parts)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Those that live now; none where the process is gone."""
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []
