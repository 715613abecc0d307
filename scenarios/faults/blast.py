"""How much harm the faults of a scenario may do, and which of them would do more. Pure.

Faults at moments drawn from the seed are counted where they can be counted beforehand: `schedule` sees to it that they
keep to `at_once`, and is asked here only whether there is room enough for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scenarios.definition import Blast, FaultSpec
from scenarios.faults.kinds import KINDS, Via

STRIKE_S = 1.0
"""How long a kind that is over at once counts as being on."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A fault that would do more than it may. key: of the fault, the one to change."""

    fault: FaultSpec
    key: str
    what: str
    fix: str


def share_of(fault: FaultSpec) -> float:
    """How much of the traffic it may hit: all of it, where a kind cannot be told to spare some."""
    return fault.share if KINDS[fault.kind].via is Via.PROXY else 1.0


def busy_s(fault: FaultSpec) -> float:
    """How long it counts as being on."""
    return STRIKE_S if KINDS[fault.kind].instant else fault.for_s


def is_random(fault: FaultSpec) -> bool:
    """Whether its moments are drawn from the seed."""
    return fault.by_s > 0.0


def overrun(fault: FaultSpec, duration_s: float) -> Excess | None:
    """Why the fault is not over when the run is; a run whose length the answers decide (0) is long enough."""
    if not duration_s:
        return None
    key = "random" if is_random(fault) else "at"
    latest_s = fault.by_s or fault.at_s
    left_s = duration_s - latest_s
    if left_s < 0 or (left_s == 0 and not is_random(fault)):
        what = f"the fault {fault.kind} starts at {latest_s:g} s, after the end of the run ({duration_s:g} s)"
        return Excess(fault, key, what, "start it earlier or make the run longer")
    if fault.for_s <= left_s + 1e-9:
        return None
    what = f"the fault {fault.kind} ends at {latest_s + fault.for_s:g} s, after the end of the run ({duration_s:g} s)"
    shorter = f', or give it for = "{left_s:g}s"' if left_s else ""
    return Excess(fault, "for", what, f"start it earlier{shorter}")


def excess(faults: Sequence[FaultSpec], blast: Blast) -> Iterator[Excess]:
    """Every fault that goes beyond the blast radius, each for one reason."""
    for fault in faults:
        if (found := _of_one(fault, blast)) is not None:
            yield found
    fixed = [fault for fault in faults if not is_random(fault)]
    for fault in fixed:
        others = [one for one in fixed if one.at_s <= fault.at_s < one.at_s + busy_s(one)]
        if len(others) > blast.at_once:
            what = f"{len(others)} faults are on at {fault.at_s:g} s, more than at_once ({blast.at_once}) allows"
            yield Excess(others[-1], "at", what, "start it later, or raise at_once in [blast_radius]")
            break
    yield from _crowded(faults, blast)


def _of_one(fault: FaultSpec, blast: Blast) -> Excess | None:
    share = share_of(fault)
    if share > blast.share + 1e-9:
        lower = f"give it share = {blast.share:g}" if KINDS[fault.kind].via is Via.PROXY else "take it out"
        what = f"{fault.kind} hits a share of {share:g}, more than {blast.share:g}"
        return Excess(fault, "share", what, f"{lower}, or raise share of the blast radius")
    if fault.for_s > blast.length_s + 1e-9:
        what = f"{fault.kind} lasts {fault.for_s:g} s, longer than {blast.length_s:g} s"
        return Excess(fault, "for", what, "make it shorter, or raise length in [blast_radius]")
    return None


def _crowded(faults: Sequence[FaultSpec], blast: Blast) -> Iterator[Excess]:
    """Faults whose moments could not always be drawn without more than `at_once` of them being on together.

    With the others of a window on for d seconds in all, at least `at_once` of them are on together in at most
    d / at_once seconds, in at most as many pieces as there are of them beyond `at_once` - 1; and a fault of length L
    may begin neither in such a piece nor in the L seconds before it. What is left must be more than nothing.
    """
    for fault in faults:
        if not is_random(fault):
            continue
        length_s = busy_s(fault)
        others = [one for one in faults if one is not fault and _may_meet(one, fault)]
        count = sum(one.times for one in others) + fault.times - 1
        on_s = math.fsum(busy_s(one) * one.times for one in others) + length_s * (fault.times - 1)
        taken_s = on_s / blast.at_once + length_s * max(0, count - blast.at_once + 1)
        room_s = fault.by_s - fault.at_s
        if taken_s >= room_s:
            what = (
                f"{room_s:g} s are too few to draw {fault.times} of {fault.kind} with at most {blast.at_once} at once"
            )
            yield Excess(fault, "random", what, "draw fewer, make them shorter, or draw them from a longer time")


def _may_meet(one: FaultSpec, other: FaultSpec) -> bool:
    """Whether both can be on at the same moment."""
    return one.at_s < _latest_s(other) and other.at_s < _latest_s(one)


def _latest_s(fault: FaultSpec) -> float:
    return max(fault.at_s, fault.by_s) + busy_s(fault)
