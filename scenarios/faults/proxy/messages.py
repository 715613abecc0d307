"""What the runner and the proxy's process say to each other: one JSON object a line, over an inherited socket pair."""

from __future__ import annotations

from typing import Any

import msgspec

from scenarios.address import Road
from scenarios.faults.injector import Ended, Order


class Setup(msgspec.Struct, frozen=True, tag=True):
    """First word to the proxy. `ca_file`: where to write the authority of its own certificates."""

    base_url: str
    road: Road
    ca_file: str
    seed: int


class Start(msgspec.Struct, frozen=True, tag=True):
    """Put this fault in force."""

    order: Order


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End that fault now."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The proxy listens on 127.0.0.1, with TLS or without; or says in `problem` why it cannot."""

    port: int = 0
    tls: bool = False
    problem: str = ""


class InForce(msgspec.Struct, frozen=True, tag=True):
    """That fault is in force now."""

    number: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """That fault cannot be brought about; nothing was touched."""

    number: int
    why: str


class Over(msgspec.Struct, frozen=True, tag=True):
    """That fault has ended and is undone."""

    ended: Ended


ToProxy = Setup | Start | Stop
FromProxy = Ready | InForce | Refused | Over

_ENCODER = msgspec.json.Encoder()


def line(message: ToProxy | FromProxy) -> bytes:
    """A message as it is sent."""
    return _ENCODER.encode(message) + b"\n"


class Lines:
    """Puts messages of one sort together from the bytes that come."""

    def __init__(self, sort: Any) -> None:
        self._decoder = msgspec.json.Decoder(sort)
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are whole now. Raises msgspec.MsgspecError where one is none."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [self._decoder.decode(one) for one in whole]
