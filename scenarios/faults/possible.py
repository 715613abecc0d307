"""Whether a kind of fault can be brought about here, and what is missing where it cannot. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.address import read_address
from scenarios.faults.kinds import KINDS, FaultKind, Need


@dataclass(frozen=True, slots=True)
class Setting:
    """What is under trial, and on what machine. No `target`: it is started here. gpu_note: why there is no GPU.

    launched: the target is a program that was started for the run; has_pid: the number of its process was given.
    """

    target: str | None = None
    launched: bool = False
    has_pid: bool = False
    gpus: int = 0
    gpu_note: str = ""


def why_not(kind: FaultKind, here: Setting) -> str:
    """What keeps the kind from being brought about, as "it needs ..."; empty where nothing does."""
    for need in kind.needs:
        if not _has(need, here):
            note = f" ({here.gpu_note})" if need is Need.GPU and here.gpu_note else ""
            remedy = "; run it where there is one, or leave it out" if need is Need.GPU else ""  # others name theirs
            return f"it needs {need.value}{note}{remedy}"
    return ""


def not_possible(here: Setting) -> dict[str, str]:
    """The kinds that cannot be brought about, and why."""
    return {name: why for name, kind in KINDS.items() if (why := why_not(kind, here))}


def _has(need: Need, here: Setting) -> bool:
    match need:
        case Need.STREAM:
            return True  # a matter of each request, known when it is answered
        case Need.TLS:
            return here.target is not None and read_address(here.target).scheme == "https"
        case Need.PROCESS:
            return here.target is None or here.launched or here.has_pid
        case Need.OURS:
            return here.target is None or here.launched
        case Need.MODEL:
            return here.target is None and not here.launched
        case Need.LOCAL:
            return here.target is None or read_address(here.target).is_loopback
        case Need.GPU:
            return here.gpus > 0
