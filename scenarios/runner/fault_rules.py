"""Which faults a run may bring about: what is possible here, whose the target is, how much harm is allowed. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from scenarios.address import read_address
from scenarios.definition import Blast, FaultSpec, GateSpec, Phase
from scenarios.faults.blast import STRIKE_S, excess
from scenarios.faults.injector import Order
from scenarios.faults.kinds import KINDS
from scenarios.faults.possible import Setting, why_not
from scenarios.gates import so_far
from scenarios.runner.live import LiveRun

TOUCH_S = 0.25
"""A fault that is over so soon is waited for by one that needs what it has, or its place: undoing takes a moment."""


@dataclass(frozen=True, slots=True)
class FaultRules:
    """What the operator and the scenario allow. own: a target other than this machine may be disturbed."""

    seed: int
    blast: Blast = field(default_factory=Blast)
    own: bool = False

    def obstacle(self, fault: FaultSpec, here: Setting, on: Sequence[tuple[FaultSpec, float]], now_s: float) -> str:
        """Why the fault cannot be brought about now; empty where it can. `on`: those that are on, and since when."""
        if here.target is not None and not read_address(here.target).is_loopback and not self.own:
            return f"{here.target} is not this machine; give --i-own-this-target if it is yours to disturb"
        if missing := why_not(KINDS[fault.kind], here):
            return missing
        for beyond in excess((fault,), self.blast):
            return f"{beyond.what}; {beyond.fix}"
        if self.full(on, now_s):
            return f"as many faults are on as at_once of [blast_radius] allows ({self.blast.at_once}); end one first"
        sole = KINDS[fault.kind].sole
        for other, since_s in on:
            if sole and KINDS[other.kind].sole == sole and since_s + other.for_s > now_s + TOUCH_S:
                return f"{other.kind} is on, and both need {sole} to themselves; end it first, or start this one later"
        return ""

    def full(self, on: Sequence[tuple[FaultSpec, float]], now_s: float) -> bool:
        """Whether no other fault may be on now. One is on until it is undone; a strike, for a moment only."""
        striking = [not KINDS[one.kind].instant or since_s + STRIKE_S > now_s for one, since_s in on]
        return sum(striking) >= self.blast.at_once

    def order(self, number: int, fault: FaultSpec, place: str) -> Order:
        """The fault as it is given to an injector; `place` tells it from all others, so that chance is its own."""
        digest = hashlib.sha256(f"seatrial {self.seed} fault {place}".encode()).digest()
        return Order(
            number=number,
            kind=fault.kind,
            for_s=fault.for_s,
            share=fault.share,
            hits=fault.hits,
            seed=int.from_bytes(digest[:6]),
            params=dict(fault.params),
        )


def unsteady(gates: Sequence[GateSpec], live: LiveRun) -> str:
    """Which gates on the time before any fault fail already, by all that has come so far; empty where none does."""
    before = [dataclasses.replace(gate, phase=Phase.WHOLE) for gate in gates if gate.phase is Phase.BEFORE]
    return "; ".join(
        f"{sample.name} is {'not measured' if sample.measured is None else f'{sample.measured:.4g}'}, {sample.bound}"
        for sample in so_far(before, live.sketches, live.counts(before), {})
        if sample.state == "fail"
    )
