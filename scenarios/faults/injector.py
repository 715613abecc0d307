"""What the runner asks of those who bring faults about: put one in force, say when it is, and undo it always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from scenarios.errors import HarnessError


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault, ready to be brought about; it crosses process boundaries.

    params: all of the kind's, by name, in its units. for_s: after this it ends by itself; 0 for instant kinds.
    share: of connections (network) or requests (http, stream), drawn for each from `seed`. hits: it ends after so many;
    0: no such bound.
    """

    number: int
    kind: str
    for_s: float = 0.0
    share: float = 1.0
    hits: int = 0
    seed: int = 0
    params: dict[str, float | str] = {}


class Ended(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fault is over and undone. facts: what it did, such as connections hit or bytes held back."""

    number: int
    why: str = ""  # "its time was over", "so many were hit"
    undone: bool = True
    facts: dict[str, float | str] = {}


class FaultRefused(HarnessError):
    """A fault cannot be brought about here; nothing was touched."""


class Injector(Protocol):
    """Brings faults of one sort about."""

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """Put the fault in force, call `on` at that moment, and return when it has ended by itself and is undone.

        Cancelled, it undoes the fault before it lets go. Raises FaultRefused before `on` was called.
        """

    def end(self, number: int) -> None:
        """Have the fault of that number, which is in force, undone now: its `hold` returns as at any other end."""

    async def died(self) -> str:
        """Returns, with how, when it has ended unasked."""

    async def close(self) -> None:
        """Undo what is still in force."""
