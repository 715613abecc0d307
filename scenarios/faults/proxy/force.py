"""A fault that is in force: whom it hits, how often it did, and when that is enough. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

from scenarios.faults.injector import Ended, Order


class Force:
    """`enough` is called when as many were hit as the order asks for."""

    def __init__(self, order: Order, until_ns: int, enough: Callable[[Force], None]) -> None:
        self.order = order
        self.until_ns = until_ns
        self.hits = 0
        self.bytes = 0  # that went through it
        self._enough = enough

    @property
    def spent(self) -> bool:
        """Whether it may hit nobody any more."""
        return 0 < self.order.hits <= self.hits

    def chooses(self, *what: int) -> bool:
        """Whether it hits that connection, or that request on it: the same for the same seed."""
        order = self.order
        return order.share >= 1.0 or self.dice(*what).random() < order.share

    def dice(self, *what: int) -> random.Random:
        """Numbers drawn for that connection or request alone."""
        return random.Random(f"{self.order.seed} {self.order.number} {what}")

    def hit(self) -> None:
        """One more was hit."""
        self.hits += 1
        if self.spent:
            self._enough(self)

    def ended(self, why: str) -> Ended:
        of = "connections" if self.order.kind.startswith("network.") else "requests"
        facts: dict[str, float | str] = {f"{of}_hit": self.hits}
        if self.bytes:
            facts["bytes"] = self.bytes
        return Ended(number=self.order.number, why=why, facts=facts)
