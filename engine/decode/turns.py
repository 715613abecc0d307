"""Whose turn it is: fairness between API keys. Pure: the caller brings the clock.

Each key has a counter of what it was served, prompt tokens and, dearer, generated ones; the key with the least goes
first (virtual token counter: Sheng et al., Fairness in Serving Large Language Models, OSDI 2024). Counters alone do
not help a key whose every request finds the slots taken by another, so slots that others used a moment ago, up to
their fair share, are left to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ANSWER_WEIGHT = 2.0
"""A generated token counts as this many prompt tokens."""
HOLD_S = 2.0
"""So long a key keeps its claim on the slots that it used."""


@dataclass(slots=True)
class Turn:
    """One key."""

    served: float = 0.0
    running: int = 0
    waiting: int = 0
    peak: int = 0
    """Most slots it held of late."""
    peak_s: float = 0.0
    """When it last held them."""

    @property
    def active(self) -> bool:
        return bool(self.running or self.waiting or self.peak)


class Turns:
    """All keys, by name."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.keys: dict[str, Turn] = {}

    def tick(self, now_s: float) -> None:
        """Let claims lapse. To be called before each plan."""
        for name, turn in list(self.keys.items()):
            if turn.running >= turn.peak or now_s - turn.peak_s > HOLD_S:
                turn.peak, turn.peak_s = turn.running, now_s
            if not turn.active:
                del self.keys[name]

    def join(self, key: str) -> None:
        """A request of this key came. A key that was away does not bring a credit along."""
        turn = self.keys.get(key)
        if turn is None:
            least = min((other.served for other in self.keys.values()), default=0.0)
            turn = self.keys[key] = Turn(served=least)
        turn.waiting += 1

    def owed(self, key: str, admitted: dict[str, int]) -> int:
        """Free slots that `key` must leave to others; 0 while it is below its fair share itself.

        `admitted` counts what a plan in the making has given to each key beyond `running`.
        """
        if len(self.keys) < 2:
            return 0
        fair = math.ceil(self._slots / len(self.keys))
        if self.keys[key].running + admitted.get(key, 0) < fair:
            return 0
        return sum(
            max(0, min(fair, turn.peak) - turn.running - admitted.get(name, 0))
            for name, turn in self.keys.items()
            if name != key
        )
