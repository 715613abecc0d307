"""What a summary must be told beside plan and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scenarios.definition import Arrivals, Slo
from scenarios.result import Capacity


class FiredFault(NamedTuple):
    """A fault that really happened: its kind, its start, and its end where one is known (seconds of the run)."""

    kind: str
    at_s: float
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class SummaryContext:
    """Facts of the run. `faults` may be plain tuples (kind, at_s) or (kind, at_s, end_s).

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

    def fired(self) -> tuple[FiredFault, ...]:
        """The faults with names to their parts."""
        return tuple(FiredFault(*fault) for fault in self.faults)
