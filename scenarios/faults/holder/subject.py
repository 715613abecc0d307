"""What is under trial, as those who bring faults about need to know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scenarios.address import Road


class SubjectFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a Subject that crosses process boundaries.

    url, road: of the target itself, not of a proxy before it. model: its name on the wire; None where it may be left
    out. key_env: the environment variable with the API key, empty for none. journal: the run's journal file.
    model_link: the symbolic link that an embedded engine is started from, empty for others.
    """

    url: str
    road: Road
    model: str | None
    key_env: str
    journal: str
    runner_pid: int
    model_link: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is under trial. `pids` tells the target's processes by part as they are now; they change across restarts."""

    url: str
    road: Road
    model: str | None
    key_env: str | None
    journal: Path
    runner_pid: int
    model_link: Path | None
    pids: Callable[[], Mapping[str, int]]

    def facts(self) -> SubjectFacts:
        return SubjectFacts(
            url=self.url,
            road=self.road,
            model=self.model,
            key_env=self.key_env or "",
            journal=str(self.journal),
            runner_pid=self.runner_pid,
            model_link="" if self.model_link is None else str(self.model_link),
        )
