"""What the journal holds of a chaos search: every try, what came of it, and the smallest that fails."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from scenarios.result import GateResult, MinimalFailure


class Purpose(StrEnum):
    """Why a try was made."""

    UNDISTURBED = "undisturbed"  # how the target is without faults
    EXPLORE = "explore"
    AGAIN = "again"  # does it fail again?
    SHRINK = "shrink"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One try: `count` requests of the run from index `first` on, from `start_s` of the run. failed: names of gates."""

    purpose: Purpose
    words: str
    kinds: tuple[str, ...]
    first: int
    count: int
    start_s: float
    failed: tuple[str, ...] = ()


class ChaosRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The search so far. possible: how many kinds it may use. gates: of the smallest failing try, as last judged."""

    possible: int = 0
    tries: tuple[Tried, ...] = ()
    minimal: MinimalFailure | None = None
    gates: tuple[GateResult, ...] = ()
    ended: str = ""
    cut_short: bool = False  # something else than its budget ended it
    warnings: tuple[str, ...] = ()
    spent_s: float = 0.0
