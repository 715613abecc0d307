"""A chaos search as the result document has it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from scenarios.chaos.record import ChaosRecord, Purpose, Tried
from scenarios.result import ChaosResult, GateResult, GateVerdict

GATE = "chaos.failures"


def chaos_of(record: ChaosRecord) -> ChaosResult:
    """What was covered and found."""
    explored = [one for one in record.tries if one.purpose in (Purpose.EXPLORE, Purpose.UNDISTURBED)]
    return ChaosResult(
        tries=len(record.tries),
        explored=len(explored),
        failures=sum(bool(one.failed) for one in explored),
        kinds=_combinations(explored, 1),
        possible=record.possible,
        pairs=_combinations(explored, 2),
        triples=_combinations(explored, 3),
        spent_s=record.spent_s,
        ended=record.ended,
        warnings=record.warnings,
        minimal=record.minimal,
    )


def gates_of_search(found: ChaosResult, gates: tuple[GateResult, ...]) -> tuple[GateResult, ...]:
    """The search as a gate: no scenario may fail. Where one does, the gates that it failed come after it."""
    minimal = found.minimal
    verdict = GateVerdict.PASS if found.explored else GateVerdict.INCONCLUSIVE
    reason = f"none found in {tries(found.explored)}" if found.explored else "not one try was made"
    if minimal is not None:
        verdict = GateVerdict.FAIL
        reason = f"{what_fails(found)} fail {minimal.gate!r}, {minimal.failed} of {minimal.tried} times"
    search = GateResult(
        name="chaos search",
        metric=GATE,
        bound="<= 0",
        measured=None if not found.explored else float(minimal is not None),
        interval=None,
        confidence=1.0,
        verdict=verdict,
        n=found.explored,
        reason=reason,
    )
    return (search, *(gate for gate in gates if gate.verdict is GateVerdict.FAIL))


def what_fails(found: ChaosResult) -> str:
    """ "network.reset at 0.34 s for 1 s with 2 requests": the smallest scenario in words."""
    minimal = found.minimal
    assert minimal is not None
    requests = "1 request" if minimal.requests == 1 else f"{minimal.requests} requests"
    return f"{' + '.join(minimal.faults)} with {requests}" if minimal.faults else f"{requests} without any fault"


def tries(count: int) -> str:
    """ "1 try", "12 tries"."""
    return "1 try" if count == 1 else f"{count:,} tries"


def _combinations(explored: Sequence[Tried], size: int) -> int:
    """Different combinations of so many kinds that came together in a try."""
    together: set[tuple[str, ...]] = set()
    for one in explored:
        together.update(itertools.combinations(sorted(set(one.kinds)), size))
    return len(together)
