"""What runner, guardian and holders say to each other: one JSON document a line, over sockets.

The runner sends Setup once, then orders; the guardian passes End and Parts on to the holder that they concern. A closed
socket means that the other side is gone.
"""

from __future__ import annotations

import contextlib
import select
import socket

import msgspec

from scenarios.faults.holder.process import Process
from scenarios.faults.holder.subject import SubjectFacts
from scenarios.faults.injector import Ended, Order


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first line: what is under trial."""

    subject: SubjectFacts


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Bring this fault about. parts: the target's processes by part."""

    order: Order
    parts: dict[str, Process]


class End(msgspec.Struct, frozen=True, tag="end"):
    """Undo that fault now."""

    number: int


class Parts(msgspec.Struct, frozen=True, tag="parts"):
    """The target's processes are these from now on."""

    parts: dict[str, Process]


class Up(msgspec.Struct, frozen=True, tag="up"):
    """The guardian is there."""


class Undo(msgspec.Struct, frozen=True):
    """How to undo a part of a fault, as data, so that any process can: `what` names one of UNDOS, args are its own."""

    what: str
    args: dict[str, float | str]


class ToUndo(msgspec.Struct, frozen=True, tag="to_undo"):
    """What a holder is about to do is undone by this."""

    number: int
    undo: Undo


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The fault is in force."""

    number: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It cannot be brought about, and nothing is left of the attempt."""

    number: int
    why: str


class Over(msgspec.Struct, frozen=True, tag="over"):
    """The fault is over."""

    ended: Ended


ToGuardian = Setup | Hold | End | Parts
FromHolder = ToUndo | Begun | Refused | Over
ToRunner = Up | FromHolder
Message = ToGuardian | ToRunner

_READ_BYTES = 65_536
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def pack(message: Message) -> bytes:
    return _encode(message) + b"\n"


class Lines:
    """Messages out of bytes in whatever pieces they arrive. Raises msgspec.MsgspecError for a line that is none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_decode(line) for line in lines]


class Channel:
    """One side of a socket between two of these processes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lines = Lines()

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message) -> None:
        """Nothing is said where the other side is gone: whoever reads from it will know."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(pack(message))

    def has_more(self) -> bool:
        """Whether `receive` would not block."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def receive(self) -> list[Message] | None:
        """What can be read now, at least a piece; None where the other side is gone. Blocks when nothing is there."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except ConnectionResetError:
            return None
        return self._lines.feed(data) if data else None
