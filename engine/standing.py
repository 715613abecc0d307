"""What the supervisor makes of the messages of an API process. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import msgspec


class EngineState(Enum):
    """What the engine as a whole can do now."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    """It answers, but not requests: the decode process is stalled or being restarted."""
    DEAD = "dead"
    STOPPED = "stopped"


class Message(msgspec.Struct, frozen=True):
    """A line the API process writes: what happened, and how things stand after it.

    state: of the decode process, as in LinkState. pids: of what is alive. A beat only tells how things stand.
    """

    kind: str
    detail: str
    state: str
    pids: dict[str, int]


_TOLD = frozenset(("died", "hung", "stalled", "waiting", "restarting", "gave_up"))
"""Messages that are events as they are; that it is ready, again or at last, follows from how things stand."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One API process: whether it serves HTTP, and the state of its decode process."""

    serving: bool = False
    decode: str = "starting"

    @property
    def state(self) -> EngineState:
        if self.decode == "dead":
            return EngineState.DEAD
        if not self.serving:
            return EngineState.STARTING
        return EngineState.READY if self.decode == "ready" else EngineState.DEGRADED


def hear(standing: Standing, message: Message) -> tuple[Standing, str]:
    """How things stand after a message, and the kind of event that it is: "" for none."""
    after = replace(standing, serving=standing.serving or message.kind == "ready", decode=message.state)
    if message.kind in _TOLD:
        return after, message.kind
    if after.state is EngineState.READY and standing.state is not EngineState.READY:
        return after, "recovered"
    return after, ""
