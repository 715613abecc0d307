"""What runner and proxy say to each other: one JSON line each, down the proxy's standard input and up its output."""

from __future__ import annotations

import msgspec

from scenarios.address import Road
from scenarios.faults.injector import Ended, Order


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first line: where connections go. certificates: of a target at https://, what the proxy shows instead."""

    url: str
    road: Road
    certificates: Certificates | None = None


class Certificates(msgspec.Struct, frozen=True):
    """PEM files that the proxy shows to clients: a chain with its key, a good one and one that has expired."""

    good: str
    expired: str


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Put a fault in force."""

    order: Order


class End(msgspec.Struct, frozen=True, tag="end"):
    """End the fault of that number, if it is still in force."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The proxy listens on that port of 127.0.0.1."""

    port: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The proxy cannot be set up."""

    why: str


class On(msgspec.Struct, frozen=True, tag="on"):
    """That fault is in force."""

    number: int


class Over(msgspec.Struct, frozen=True, tag="over"):
    """A fault is over and undone."""

    ended: Ended


Down = Setup | Put | End
Up = Ready | Failed | On | Over
