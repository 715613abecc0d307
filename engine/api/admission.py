"""Whether one more request may come in: the total bound, and each key's fair share of the queue. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What becomes of a request that asks to come in."""

    ADMIT = "admit"
    FULL = "queue_full"
    """Slots and queue are taken, whoever asks."""
    OVER_SHARE = "key_share_full"
    """The queue has room, but not for this key beside the others."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who is here. `pending` holds the key of each request without a slot in the order they came; `active` the keys
    that were seen of late, with or without an open request."""

    slots: int
    queue_limit: int
    running: int
    pending: Sequence[str]
    active: Collection[str]

    @property
    def waiting(self) -> Sequence[str]:
        """The keys of those that really wait: the first of the pending have a free slot and only do not know it yet."""
        return self.pending[max(0, self.slots - self.running) :]

    def keys_with(self, key: str) -> int:
        """How many keys share the queue once `key` is one of them."""
        return len({*self.active, *self.pending, key})

    def share(self, key: str) -> int:
        """How many requests of `key` may wait."""
        return max(1, self.queue_limit // self.keys_with(key))


def decide(load: Load, key: str) -> Verdict:
    """Whether a request of `key` may come in.

    A free slot is anybody's. Of the queue a key that is alone has all; beside others it has an equal part, so that a
    key which sends without end leaves the others' parts alone.
    """
    total = load.running + len(load.pending)
    if total < load.slots:
        return Verdict.ADMIT
    if total >= load.slots + load.queue_limit:
        return Verdict.FULL
    if load.keys_with(key) > 1 and load.waiting.count(key) >= load.share(key):
        return Verdict.OVER_SHARE
    return Verdict.ADMIT
