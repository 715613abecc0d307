"""Faults of the target's own processes and files."""

from __future__ import annotations

from scenarios.faults.kinds.kind import FaultKind, Need, Via, count, seconds, word

_PART = word("part", ("all", "api", "decode"), "which process of the embedded engine; others have one part")
_LOST = "Sees the connection break, reports the answer as lost, tries again with pauses."
_BACK = "Is started again by its supervisor and serves within its load time; requests that wait are kept or refused."
_PROCESS = (Need.PROCESS,)
_MODEL = (Need.MODEL,)
_LINK = "the link to the model"
TIME = "the processor time of the target"

ENGINE = (
    FaultKind(
        "engine.kill", Via.HOLDER, "SIGKILL to the target's process", _LOST, _BACK, (_PART,), _PROCESS, instant=True
    ),
    FaultKind(
        "engine.term", Via.HOLDER, "SIGTERM to the target's process, under load", _LOST,
        "Finishes what it has begun, takes nothing new, ends; then is started again.", (_PART,), _PROCESS, instant=True,
    ),
    FaultKind(
        "engine.stop", Via.HOLDER, "SIGSTOP, and SIGCONT at the end",
        "Waits up to its timeout, then gives up and says so.",
        "Is noticed as hung and replaced, or goes on where it was.", (_PART,), _PROCESS, sole=TIME,
    ),
    FaultKind(
        "engine.restart_loop", Via.HOLDER, "SIGKILL again and again, as soon as it is back", _LOST,
        "Is started again with growing pauses, and serves once it is let alone.",
        (seconds("every", 1.0, "between two kills", 0.1),), _PROCESS,
    ),
    FaultKind(
        "engine.cold_start", Via.HOLDER, "SIGKILL, and the model's file is dropped from the page cache", _LOST, _BACK,
        needs=_MODEL, instant=True,
    ),
    FaultKind(
        "engine.port_taken", Via.HOLDER, "SIGKILL, and somebody else listens on the target's port meanwhile", _LOST,
        "Keeps its port across restarts, or says who has it and takes it back when it is free.",
        needs=(Need.PROCESS, Need.LOCAL),
    ),
    FaultKind(
        "engine.model_missing", Via.HOLDER, "SIGKILL while the model's file is not there", _LOST,
        "Says what is missing, and serves as soon as it is back.", needs=_MODEL, sole=_LINK,
    ),
    FaultKind(
        "engine.model_truncated", Via.HOLDER, "SIGKILL while the model's file holds only its first half", _LOST,
        "Refuses the file with a clear error, and serves as soon as it is whole again.", needs=_MODEL, sole=_LINK,
    ),
    FaultKind(
        "engine.model_swapped", Via.HOLDER, "SIGKILL while another model lies under the same name",
        "Compares the fingerprint, and notices that answers are another model's.",
        "Says another fingerprint for another model.", needs=_MODEL, sole=_LINK,
    ),
    FaultKind(
        "engine.files", Via.HOLDER, "the process may open no more than a few files and connections",
        "Is refused or turned away at once, never left hanging.",
        "Turns new connections away, goes on with the open ones, and takes new ones again afterwards.",
        (count("spare", 2, "that it may still open", 0, 1000),), _PROCESS, sole="the target's limit of open files",
    ),
)  # fmt: skip
