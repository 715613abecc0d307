"""What faults of the network do to bytes in one direction: when which of them may go on. Pure; times in ns."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from scenarios.faults.injector import Order

NS = 1_000_000_000
_SLICES_PER_S = 100  # a limited connection writes so often at most
_WAYS = {"down": (False, True), "up": (True, False), "both": (True, True)}  # (up, down)


class Parcel(NamedTuple):
    """Bytes that may be written from `due_ns` on; then the connection may be closed: "", "fin" or "rst"."""

    due_ns: int
    data: bytes
    close: str = ""


class Shaper(Protocol):
    """One fault on one direction of one connection."""

    def shape(self, parcel: Parcel) -> Iterable[Parcel]:
        """The parcels that this one becomes; their order is kept whatever their times."""


class Latency:
    """Each parcel later by `delay`, give or take `jitter`, evenly."""

    def __init__(self, delay_s: float, jitter_s: float, dice: random.Random) -> None:
        self._delay_s, self._jitter_s, self._dice = delay_s, jitter_s, dice

    def shape(self, parcel: Parcel) -> Iterable[Parcel]:
        delay_s = self._delay_s + (self._dice.uniform(-1, 1) * self._jitter_s if self._jitter_s else 0.0)
        yield parcel._replace(due_ns=parcel.due_ns + round(max(0.0, delay_s) * NS))


class Bandwidth:
    """No more than `rate` bytes a second, in even steps."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._step = max(1, int(rate / _SLICES_PER_S))
        self._free_ns = 0  # when the line has carried what it was given

    def shape(self, parcel: Parcel) -> Iterable[Parcel]:
        self._free_ns = max(self._free_ns, parcel.due_ns)
        for at in range(0, len(parcel.data), self._step):
            piece = parcel.data[at : at + self._step]
            self._free_ns += round(len(piece) / self._rate * NS)
            yield Parcel(self._free_ns, piece)
        if parcel.close:
            yield Parcel(self._free_ns, b"", parcel.close)


class Slice:
    """`size` bytes at a time, `delay` between them."""

    def __init__(self, size: int, delay_s: float) -> None:
        self._size, self._delay_ns = size, round(delay_s * NS)
        self._next_ns = 0

    def shape(self, parcel: Parcel) -> Iterable[Parcel]:
        for at in range(0, len(parcel.data), self._size):
            due_ns = max(self._next_ns, parcel.due_ns)
            self._next_ns = due_ns + self._delay_ns
            yield Parcel(due_ns, parcel.data[at : at + self._size])
        if parcel.close:
            yield Parcel(max(self._next_ns, parcel.due_ns), b"", parcel.close)


class Corrupt:
    """One byte of about `per` is another one."""

    def __init__(self, per: int, dice: random.Random) -> None:
        self._per, self._dice = per, dice
        self._next = self._gap()

    def _gap(self) -> int:
        return int(self._dice.expovariate(1.0 / self._per))

    def shape(self, parcel: Parcel) -> Iterable[Parcel]:
        data = bytearray(parcel.data)
        while self._next < len(data):
            data[self._next] ^= self._dice.randint(1, 255)
            self._next += 1 + self._gap()
        self._next -= len(data)
        yield parcel._replace(data=bytes(data))


def shaper_of(order: Order, up: bool, dice: random.Random) -> Shaper | None:
    """What the fault does in that direction; None where it does nothing to bytes that pass."""
    params = order.params
    if not _WAYS[str(params.get("direction", "down"))][0 if up else 1]:
        return None
    match order.kind:
        case "network.latency":
            return Latency(float(params["delay"]), float(params["jitter"]), dice)
        case "network.bandwidth":
            return Bandwidth(float(params["rate"]))
        case "network.slice":
            return Slice(int(params["size"]), float(params["delay"]))
        case "network.corrupt":
            return Corrupt(int(params["per"]), dice)
    return None
