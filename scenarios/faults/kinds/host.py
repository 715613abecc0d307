"""Faults of the machine: what target and harness share."""

from __future__ import annotations

from scenarios.faults.kinds.engine import TIME
from scenarios.faults.kinds.kind import FaultKind, Need, Param, Unit, Via, count, seconds, size

_SLOWER = "Waits longer; nothing else changes."
_UNTOUCHED = "Is not concerned."

HOST = (
    FaultKind(
        "host.cpu", Via.HOLDER, "processes that use up processor time beside the target", _SLOWER,
        "Slows down evenly, and turns work away rather than queueing it for ever.",
        (count("processes", 2, "how many", 1, 256), Param("load", Unit.SHARE, 1.0, "of a core each", 0.05, 1.0)),
        (Need.LOCAL,),
    ),
    FaultKind(
        "host.memory", Via.HOLDER, "memory is taken until only so much is left (never less than 256 MB)", _SLOWER,
        "Serves on from the memory that it has.",
        (size("leave", 512 << 20, "bytes that stay free", 256 << 20), size("most", 2 << 30, "bytes taken at most")),
        (Need.LOCAL,),
    ),
    FaultKind(
        "host.disk_full", Via.HOLDER, "the run's journal, and with it every other file of the runner, cannot grow",
        _UNTOUCHED, _UNTOUCHED,
        (size("spare", 64 << 10, "bytes that it may still grow"),), sole="the runner's limit of file sizes",
    ),
    FaultKind(
        "host.clock_step", Via.RUNNER, "the wall clock, as the harness sees it, jumps", _UNTOUCHED, _UNTOUCHED,
        (Param("step", Unit.SECONDS, 3600.0, "how far, back where negative", -86_400, 86_400),),
    ),
    FaultKind(
        "host.gpu_memory", Via.HOLDER, "GPU memory is taken until only so much is left", _SLOWER,
        "Serves on from the memory that it has; a restart says clearly that there is too little.",
        (size("leave", 512 << 20, "bytes that stay free", 64 << 20), size("most", 8 << 30, "bytes taken at most")),
        (Need.LOCAL, Need.GPU),
    ),
    FaultKind(
        "host.gpu_clock", Via.HOLDER, "the GPU's clock is held low, as under thermal throttling", _SLOWER,
        "Slows down evenly.", (count("mhz", 600, "graphics clock", 100, 5000),), (Need.LOCAL, Need.GPU),
        sole="the clock of the GPU",
    ),
    FaultKind(
        "host.pause", Via.HOLDER, "a share of the target's time is taken away by short stops, as by a busy hypervisor",
        _SLOWER, "Slows down evenly and is not taken for hung.",
        (Param("stopped", Unit.SHARE, 0.5, "of the time", 0.05, 0.95), seconds("slice", 0.1, "one stop", 0.01, 1.0)),
        (Need.PROCESS,), sole=TIME,
    ),
)  # fmt: skip
