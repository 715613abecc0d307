"""What a run needs of its target, whatever it is, and which one its options ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from engine.supervisor import EngineEvent
from scenarios.address import Road
from scenarios.runner.options import RunOptions
from scenarios.runner.target.embedded import EmbeddedTarget
from scenarios.runner.target.launched import LaunchedTarget
from scenarios.runner.target.remote import RemoteTarget
from scenarios.tick import EngineSample

__all__ = ["EmbeddedTarget", "LaunchedTarget", "RemoteTarget", "Target", "target_of"]


class Target(Protocol):
    """Where requests go. `describe` is shown to people, `model` is what the target says it serves.

    wire_model: the name that requests must carry; None where it may be left out. owned: it is started and restarted
    here. model_link: the symbolic link in the run's folder that it is started from, where there is one.
    """

    base_url: str
    road: Road
    describe: str
    model: str
    wire_model: str | None
    owned: bool
    model_link: Path | None

    @property
    def deaths(self) -> int: ...
    async def start(self) -> None: ...
    async def sample(self) -> EngineSample: ...

    def processes(self) -> dict[str, int]:
        """Its process ids by part, as they are now: those that a fault may strike. Empty where none is known."""

    async def serving_again(self, deaths: int) -> None:
        """Return when it has died more than `deaths` times and serves again; at once where that cannot be seen."""

    async def restore(self) -> None:
        """Start a target of ours anew and return when it serves; another is left alone. Raises TargetError."""

    async def stop(self) -> None: ...


def target_of(options: RunOptions, on_event: Callable[[EngineEvent], None]) -> Target:
    """The target that the options name. Nothing is started yet."""
    if options.launch:
        return LaunchedTarget(options, on_event)
    if options.target:
        return RemoteTarget(options)
    return EmbeddedTarget(options, on_event)
