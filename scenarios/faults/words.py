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


def undone_in_words(kind: FaultKind) -> str:
    """Who puts it right, also when the run is killed."""
    if kind.via is Via.PROXY:
        return "the proxy lets all through again"
    if kind.via is Via.RUNNER:
        return "it ends with the run, whose own view it is"
    if kind.family == "clients":
        return "they hang up"
    if kind.instant:
        return "the target is started again by its supervisor"
    return "the guardian puts the file back" if Need.MODEL in kind.needs else "by the guardian"


def harm_in_words(kind: FaultKind) -> str:
    """What it touches."""
    match kind.family:
        case "network" | "http" | "stream":
            return "this run's requests on their way"
        case "clients":
            return "the target, by requests beside the plan"
        case "engine":
            return "the target's process"
    if not kind.needs:
        return "this run's own files" if kind.via is Via.HOLDER else "this run's own view of the clock"
    return "the target's process" if Need.PROCESS in kind.needs else "this machine"
