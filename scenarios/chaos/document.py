"""A chaos search as the result document has it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from scenarios.chaos.record import ChaosRecord, Purpose, Tried
from scenarios.result import ChaosResult, GateResult, GateVerdict, Verdict

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


def gates_of_search(found: ChaosResult, gates: tuple[GateResult, ...], spoilt: str) -> tuple[GateResult, ...]:
    """The search as a gate: no scenario may fail. Where one does, the gate that it failed comes after it.

    spoilt: why the instrument cannot be trusted. What failed again and again stands all the same; that nothing did,
    does not.
    """
    minimal = found.minimal
    verdict, reason = GateVerdict.PASS, f"none found in {tries(found.explored)}"
    if minimal is not None:
        verdict, reason = GateVerdict.FAIL, f"{what_fails(found)}: failed {minimal.failed} of {minimal.tried} times"
    elif not found.explored:
        verdict, reason = GateVerdict.INCONCLUSIVE, "not one try was made"
    elif spoilt:
        verdict, reason = GateVerdict.INVALID, spoilt
    search = GateResult(
        name="chaos search",
        metric=GATE,
        bound="<= 0",
        measured=float(minimal is not None) if found.explored else None,
        interval=None,
        confidence=1.0,
        verdict=verdict,
        n=found.explored,
        reason=reason,
    )
    return (search, *gates)


def conclude_search(found: ChaosResult, gates: Sequence[GateResult], interrupted: bool) -> tuple[Verdict, str]:
    """The verdict and its sentence; that nothing was found is said of these tries, and of nothing beyond them."""
    minimal = found.minimal
    if minimal is not None:
        times = f"{minimal.failed} of {minimal.tried} times"
        return Verdict.NO_GO, f"A scenario fails {minimal.gate!r} {times}: {what_fails(found)}."
    if gates[0].verdict is GateVerdict.PASS and found.ended and not interrupted:
        return Verdict.GO, f"No scenario that fails was found in {tries(found.explored)} ({covered(found)})."
    if gates[0].verdict is GateVerdict.INVALID:
        return Verdict.INVALID, f"The search cannot be judged: {gates[0].reason}."
    return Verdict.INCONCLUSIVE, f"The search was cut short; none was found in {tries(found.explored)}."


def covered(found: ChaosResult) -> str:
    """ "41 of 44 kinds of faults, 37 pairs, 12 triples"."""
    parts = [f"{found.kinds} of {found.possible} kinds of faults"]
    for count, word in ((found.pairs, "pair"), (found.triples, "triple")):
        parts += [f"{count} {word}" + ("" if count == 1 else "s")] if count else []
    return ", ".join(parts)


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
