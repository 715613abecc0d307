"""What a summary must be told beside plan and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scenarios.definition import Arrivals, Slo
from scenarios.result import Capacity


@dataclass(frozen=True, slots=True)
class FiredFault:
    """A fault that was ordered: when it was on (seconds of the run), or `why` it could not be brought about.

    words: its parameters. instant: it was over as soon as it had struck. facts: what it did.
    """

    number: int
    kind: str
    at_s: float
    end_s: float
    words: str = ""
    instant: bool = False
    undone: bool = True
    facts: Mapping[str, float | str] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class SummaryContext:
    """Facts of the run; `faults` in the order of their starts.

    signs_s: when the target itself was seen to fail (seconds of the run). objective: the least goodput that the
    scenario asks of the whole run; None: it asks for none.
    instrument: the harness's own error, copied into the summary. drift: the final facts of DriftMonitor, empty without
    drift. engine_restarts: None where the target is not ours. ours: the target is the embedded engine.
    even: nothing changes in mid-run by plan, so that requests which follow each other and are alike say less.
    """

    slo: Slo
    arrivals: Arrivals
    faults: tuple[FiredFault, ...] = ()
    instrument: Mapping[str, float | int | str | None] = field(default_factory=dict)
    drift: Mapping[str, float | int | bool | str | None] = field(default_factory=dict)
    engine_restarts: int | None = None
    ours: bool = True
    capacity: Capacity | None = None
    even: bool = False
    signs_s: tuple[float, ...] = ()
    objective: float | None = None
