"""From gates to a verdict and one plain sentence on why."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.result import GateResult, GateVerdict, Verdict

_RANK = (
    (GateVerdict.INVALID, Verdict.INVALID),
    (GateVerdict.FAIL, Verdict.NO_GO),
    (GateVerdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
)


def conclude(
    gates: Sequence[GateResult], interrupted: bool = False, ruled_out: str = "", spoilt: str = ""
) -> tuple[Verdict, str]:
    """The verdict and its sentence. GO only when every gate passed in a run that ran to its end and had a gate.

    ruled_out: the sentence of a run that is NO-GO whatever its gates say, such as one that was aborted. spoilt: why
    nothing that the harness saw can be trusted; that such a run was ruled out says nothing about the service.
    """
    if ruled_out and spoilt:
        return Verdict.INVALID, f"The run cannot be judged: {spoilt}."
    if ruled_out:
        return Verdict.NO_GO, ruled_out
    for worst, verdict in _RANK:
        deciding = [gate for gate in gates if gate.verdict is worst]
        if deciding:
            return verdict, _sentence(deciding, len(gates))
    if not gates:
        return Verdict.INCONCLUSIVE, "The scenario has no gates, so there is nothing to decide by."
    if interrupted:
        return Verdict.INCONCLUSIVE, f"The run was interrupted; until then {_count(len(gates))} held."
    if len(gates) == 1:
        return Verdict.GO, f"The only gate passed: {describe(gates[0])}."
    return Verdict.GO, f"All {len(gates)} gates passed: first {describe(gates[0])}."


def describe(gate: GateResult) -> str:
    """ "ttft_s.p95 is 0.91 s, bound <= 0.8 s, 95 % interval 0.85 to 0.99 s, n = 400": one gate with its numbers."""
    unit = " s" if gate.metric.partition(".")[0].endswith("_s") or gate.metric.endswith("_s") else ""
    name = gate.metric if gate.name == gate.metric else f"{gate.name} ({gate.metric})"
    parts = [
        f"{name} is {_number(gate.measured)}{unit if gate.measured is not None else ''}",
        f"bound {gate.bound}{unit}",
    ]
    if gate.interval is not None:
        low, high = (_number(end, "unbounded") for end in gate.interval)
        parts.append(f"{gate.confidence * 100:g} % interval {low} to {high}{unit}")
    if gate.n > 1:
        parts.append(f"n = {gate.n}")
    return ", ".join(parts)


def _sentence(deciding: Sequence[GateResult], gates: int) -> str:
    first = deciding[0]
    how = {
        GateVerdict.INVALID: "cannot be judged",
        GateVerdict.FAIL: "failed",
        GateVerdict.INCONCLUSIVE: "not settled",
    }[first.verdict]
    if gates == 1:
        head = f"The only gate {'is ' if first.verdict is GateVerdict.INCONCLUSIVE else ''}{how}"
    else:
        head = f"{len(deciding)} of {gates} gates {how}"
    more = "" if len(deciding) == 1 else "first "
    why = f"; {first.reason}" if first.reason else ""
    if first.needed is not None:
        why += f"; about {first.needed:,} more requests would settle it"
    return f"{head}: {more}{describe(first)}{why}."


def _count(gates: int) -> str:
    return "the only gate" if gates == 1 else f"{gates} gates"


def _number(value: float | None, none: str = "not measured") -> str:
    return none if value is None else f"{value:.4g}"
