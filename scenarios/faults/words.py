"""What a fault is, in the few words that lists, previews and the time line use. Pure."""

from __future__ import annotations

from scenarios.conditions import in_words
from scenarios.definition import FaultSpec
from scenarios.faults.kinds import KINDS, FaultKind, Need, Param, Unit, Via

_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def params_in_words(fault: FaultSpec) -> str:
    """`delay 300ms, jitter 0s, direction down; a share of 0.5, 3 hits`; empty for a kind that takes nothing."""
    known = {param.name: param for param in KINDS[fault.kind].params}
    words = [f"{name} {value_in_words(known[name], value)}" for name, value in fault.params if name in known]
    bounds = [] if fault.share == 1.0 else [f"a share of {fault.share:g}"]
    bounds += [] if not fault.hits else [f"{fault.hits:,} hits"]
    bounds += [] if fault.until is None else [f"until {in_words(fault.until)}"]
    return "; ".join(part for part in (", ".join(words), ", ".join(bounds)) if part)


def value_in_words(param: Param, value: float | str) -> str:
    """The value as its author would write it: `300ms`, `64KB`, `0.5`."""
    if isinstance(value, str):
        return value
    if param.unit is Unit.SECONDS:
        return f"{value * 1000:g}ms" if 0 < abs(value) < 1 else f"{value:g}s"
    if param.unit is Unit.BYTES:
        size, unit = next(((size, unit) for size, unit in _SIZES if value >= size and value % size == 0), (1, ""))
        return f"{value / size:.15g}{unit}"
    return f"{value:.15g}"


def length_in_words(fault: FaultSpec) -> str:
    """`for 5s`, or that it is over at once."""
    return f"for {fault.for_s:g}s" if fault.for_s else "over at once"


def undone_in_words(kind: FaultKind) -> str:
    """Who puts it right, also when the run is killed."""
    if kind.via is Via.PROXY:
        return "the proxy lets everything through again; it ends with the run"
    if kind.instant:
        return "nothing is left to undo: whoever supervises the target starts it again"
    if kind.family == "clients":
        return "the clients hang up; the process that they live in ends with the run"
    if Need.MODEL in kind.needs:
        return "the guardian puts the model's file back, also when the run is killed"
    return "the guardian undoes it, also when the run is killed"


def harm_in_words(kind: FaultKind) -> str:
    """What it touches."""
    match kind.family:
        case "network" | "http" | "stream":
            return "the requests of this run on their way"
        case "clients":
            return "the target, by requests that are not in the plan"
        case "engine":
            return "the target's process"
    return "the target's process" if Need.PROCESS in kind.needs else "this machine"
