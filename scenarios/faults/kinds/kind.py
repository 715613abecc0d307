"""What a kind of fault is: what it takes, what it needs, and what a correct client and server do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Via(StrEnum):
    """Who brings a fault about."""

    PROXY = "proxy"  # the proxy in the path of the planned requests
    RUNNER = "runner"  # the runner itself: it concerns nobody else
    HOLDER = "holder"  # a process that holds the fault and undoes it, also when the runner is gone


class Need(StrEnum):
    """What must be there for a fault; the value completes "it needs ..."."""

    STREAM = "answers that are streamed"
    TLS = "a target at https://"
    PROCESS = "the target's process: the embedded engine, --launch or --target-pid"
    OURS = "a target that is started here: the embedded engine or --launch"
    MODEL = "the embedded engine, whose model file is ours to hide"
    LOCAL = "a target on this machine"
    GPU = "an NVIDIA GPU"


class Unit(StrEnum):
    """What a parameter counts; in a file, seconds are written as a duration and bytes may be a size ("64KB")."""

    SECONDS = "s"
    BYTES = "bytes"
    RATE = "bytes/s"
    SHARE = "share"
    COUNT = "count"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter with its default and bounds; of a WORD the allowed `words`, the first one being the default."""

    name: str
    unit: Unit
    default: float | str
    about: str
    low: float = 0.0
    high: float = 0.0
    words: tuple[str, ...] = ()


def seconds(name: str, default: float, about: str, low: float = 0.0, high: float = 60.0) -> Param:
    return Param(name, Unit.SECONDS, default, about, low, high)


def count(name: str, default: float, about: str, low: float = 1, high: float = 10_000) -> Param:
    return Param(name, Unit.COUNT, default, about, low, high)


def size(name: str, default: float, about: str, low: float = 0, high: float = 1 << 40) -> Param:
    return Param(name, Unit.BYTES, default, about, low, high)


def word(name: str, words: tuple[str, ...], about: str) -> Param:
    return Param(name, Unit.WORD, words[0], about, words=words)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault. `instant`: it is over as soon as it has struck; the others last as long as they are told.

    client, server: what a correct one does, a sentence each. sole: what it must have to itself while it lasts, since it
    puts back what it found there; empty for kinds of which any number can be on together.
    """

    name: str
    via: Via
    about: str
    client: str
    server: str
    params: tuple[Param, ...] = ()
    needs: tuple[Need, ...] = ()
    instant: bool = False
    sole: str = ""

    @property
    def family(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]
