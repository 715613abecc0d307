"""What gates are judged on: the columns of a run, its facts, and the values that are no samples of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.gates.instrument import InstrumentError
from scenarios.observation import Outcome
from scenarios.result import Recovery
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.context import SummaryContext
from scenarios.summary.summarise import recovery_of


@dataclass(frozen=True, slots=True)
class Value:
    """One number. `at_least` is set instead where the run ended before it was known: it is that much or more."""

    measured: float | None = None
    at_least: float | None = None
    n: int = 0
    why: str = ""  # why there is none
    interval: tuple[float | None, float | None] | None = None  # where it was estimated; None: known as it is


@dataclass(frozen=True, slots=True)
class Samples:
    """`interrupted`: requests that were never sent, or cut off by the stop, then count in no rate."""

    columns: Columns
    context: SummaryContext
    recovery: tuple[Recovery, ...] = ()
    instrument: InstrumentError = field(default_factory=InstrumentError)
    interrupted: bool = False

    def latencies(self, family: str) -> tuple[Floats, npt.NDArray[Any]]:
        """The values of a latency and the row of each."""
        if family == "itl_s":
            return self.columns.gap_s, self.columns.gap_row
        values = self.columns.latency_s[family]
        rows = np.flatnonzero(~np.isnan(values))
        return values[rows], rows

    def value(self, metric: str) -> Value:
        """A metric that is one number. Raises KeyError for a name that is none."""
        match metric:
            case "recovery_s.max":
                return self._recovery()
            case "engine.restarts":
                count = self.context.engine_restarts
                why = "the engine's restarts are known only for the embedded engine"
                return Value(why=why) if count is None else Value(float(count), n=1)
            case "capacity.rate":
                return self._capacity()
            case "drift.detected" | "drift.delay_s" | "drift.accuracy_drop":
                return self._drift(metric.partition(".")[2])
        raise KeyError(metric)

    def _recovery(self) -> Value:
        if not self.recovery:
            return Value(why="no disturbance happened")
        never = [one for one in self.recovery if one.recovered_s is None]
        known = max((one.recovered_s for one in self.recovery if one.recovered_s is not None), default=0.0)
        if not never:
            return Value(known, n=len(self.recovery))
        sent = ~self.columns.odd & ~self.columns.is_outcome(Outcome.UNSENT)
        watched_to_s = float(self.columns.due_s[sent].max(initial=0.0))
        first = min(never, key=lambda one: one.at_s)
        at_least = max(known, watched_to_s - first.at_s)
        why = f"after {first.cause} at {first.at_s:g} s service did not come back inside the SLO in the rest of the run"
        return Value(at_least=max(0.0, at_least), n=len(self.recovery), why=why)

    def _capacity(self) -> Value:
        capacity = self.context.capacity
        if capacity is None:
            return Value(why="the run searched for no capacity")
        why = "" if capacity.rate is not None else capacity.why
        return Value(capacity.rate, n=len(capacity.probes), why=why, interval=(capacity.low, capacity.high))

    def _drift(self, name: str) -> Value:
        facts = self.context.drift
        if name != "accuracy_drop" and facts.get("evaluations") == 0 and not facts.get("detected"):
            return Value(why="the run was too short for a single comparison of recent requests with its beginning")
        measured = facts.get(name)
        if isinstance(measured, (int, float)):
            return Value(float(measured), n=1)
        watched = facts.get("watched_s")
        if name == "delay_s" and isinstance(watched, (int, float)):
            return Value(at_least=float(watched), n=1, why="the drift was not detected before the run ended")
        return Value(why="the run did not measure it")


def samples_of(
    columns: Columns,
    context: SummaryContext,
    instrument: InstrumentError | None = None,
    interrupted: bool = False,
) -> Samples:
    """Samples of a run from the columns that its summary was made of."""
    return Samples(columns, context, recovery_of(columns, context), instrument or InstrumentError(), interrupted)
