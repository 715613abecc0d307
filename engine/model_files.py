"""Whether the files that a model is loaded from can be read, before a process is started in vain to load them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from engine.config import EngineConfig
from engine.errors import ModelError
from engine.gguf import read_head

_LOOK_S = 0.1

State = tuple[tuple[int, int, int] | None, ...]
"""Of each file: inode, bytes, time of its last change in ns; None while it is not there."""


class ModelFiles:
    """Model, adapters and projector of a configuration. Made inside a running loop: it looks at them right away."""

    def __init__(self, config: EngineConfig) -> None:
        parts = [path for _, path in config.lora] + ([config.mmproj] if config.mmproj is not None else [])
        self._paths = (config.model, *parts)
        self._first = asyncio.create_task(asyncio.to_thread(self.problem), name="model-files")

    def problem(self) -> str:
        """What is wrong with them as far as their heads tell: missing, cut off, no GGUF; empty where nothing is."""
        try:
            for path in self._paths:
                read_head(path)
        except ModelError as error:
            return str(error)
        return ""

    async def whole(self, say: Callable[[str], None], stopped: Callable[[], bool]) -> bool:
        """Wait until they can be read again; `say` is told once what is missing. Returns whether there was a wait.

        Files in which something was wrong from the start are not waited for: what loaded them knows better.
        """
        if await self._first:
            return False
        waited = False
        seen: State | None = None
        while not stopped():
            now = self._state()
            if now != seen:
                seen = now
                problem = await asyncio.to_thread(self.problem)
                if not problem:
                    return waited
                if not waited:
                    say(problem)
                waited = True
            await asyncio.sleep(_LOOK_S)
        return waited

    def _state(self) -> State:
        return tuple(_state(path) for path in self._paths)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
