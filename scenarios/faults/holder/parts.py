"""The target's processes as a fault finds them."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.process import Process, lives, send
from scenarios.faults.injector import FaultRefused

ALL = "all"
_NOT_YOURS = "the target's process {} is another user's; give one of your own, or become that user"


def parts_of(parts: Mapping[str, Process], part: str) -> tuple[Process, ...]:
    """The process of a part; of a target that has no such part, all: it is one thing."""
    return (parts[part],) if part in parts else tuple(parts.values())


def living(hold: Hold, part: str = ALL) -> tuple[Process, ...]:
    """Those that run now, as far as it was told."""
    return tuple(process for process in parts_of(hold.parts, part) if lives(process))


def demanded(hold: Hold, part: str = ALL) -> tuple[Process, ...]:
    """Those that run now, at least one. Raises FaultRefused."""
    processes = living(hold, part)
    if not processes:
        raise FaultRefused(f"{hold.order.kind}: nothing of the target is running just now")
    return processes


def strike(processes: tuple[Process, ...], number: signal.Signals) -> int:
    """Signal each; how many were there to get it. Raises FaultRefused where they are another user's."""
    hit = 0
    for process in processes:
        try:
            hit += send(process, number)
        except PermissionError as error:
            raise FaultRefused(_NOT_YOURS.format(process.pid)) from error
    return hit


def kill_and_wait(hold: Hold, processes: tuple[Process, ...]) -> None:
    """SIGKILL, and wait until they are gone, or the fault is to end."""
    hold.facts["killed"] = float(hold.facts.get("killed", 0.0)) + strike(processes, signal.SIGKILL)
    hold.wait(until=lambda: not any(lives(process) for process in processes), every_s=0.002)
