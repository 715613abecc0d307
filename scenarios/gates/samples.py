"""What gates are judged on: the columns of a run, its facts, and the values that are no samples of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec, Over
from scenarios.gates.instrument import InstrumentError
from scenarios.metrics import METRICS
from scenarios.observation import Outcome
from scenarios.result import Recovery
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.context import SummaryContext
from scenarios.summary.rates import Share, Shift, share
from scenarios.summary.summarise import recovery_of
from scenarios.summary.window import Measured, or_never

DEPENDS_ON_TIMES = frozenset({"goodput"})  # of the shares


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
    """columns: of the requests in the measured window; `whole`: of all.

    interrupted: requests that were never sent, or cut off by the stop, then count in no rate. early: the gates ended
    the run before its plan did.
    """

    columns: Columns
    whole: Columns
    context: SummaryContext
    recovery: tuple[Recovery, ...] = ()
    instrument: InstrumentError = field(default_factory=InstrumentError)
    interrupted: bool = False
    early: bool = False

    def share(self, metric: str, shift: Shift) -> Share:
        """The rows behind a rate. Raises KeyError for a name that is none."""
        found = share(self.columns, self.context.slo, metric, shift)
        if not self.interrupted:
            return found
        counts = ~self.columns.is_outcome(Outcome.UNSENT, Outcome.CANCELLED)
        return Share(found.hit & counts, found.over & counts)

    def latencies(self, family: str, over: Over) -> tuple[Floats, npt.NDArray[Any]]:
        """The values of a latency and the row of each; with PLANNED infinite where there never was one."""
        if family == "itl_s":
            return self.columns.gap_s, self.columns.gap_row
        values = self.columns.latency_s[family] if over is Over.SERVED else or_never(self.columns, family)
        rows = np.flatnonzero(~np.isnan(values))
        return values[rows], rows

    def trials(self, gate: GateSpec, shift: Shift) -> tuple[Floats, npt.NDArray[Any]]:
        """Each request that counts for a gate, in the plan's order: seconds, or 1.0 and 0.0 of a share; and its row."""
        metric = METRICS[gate.metric]
        if metric.quantile is None:
            found = self.share(gate.metric, shift)
            rows = np.flatnonzero(found.over)
            return found.hit[rows].astype(np.float64), rows
        values, rows = self.latencies(metric.family, gate.over)
        if metric.family == "tpot_s":
            return shift.of(values, shift.stamp_s / np.maximum(self.columns.tokens[rows] - 1, 1)), rows
        return shift.of(values, shift.late_s), rows

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
        sent = ~self.whole.odd & ~self.whole.is_outcome(Outcome.UNSENT)
        watched_to_s = float(self.whole.due_s[sent].max(initial=0.0))
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
    measured: Measured | None = None,
    early: bool = False,
) -> Samples:
    """Samples of a run from the columns that its summary was made of; all of its requests where no window is given."""
    return Samples(
        columns=columns if measured is None else measured.columns,
        whole=columns,
        context=context,
        recovery=recovery_of(columns, context),
        instrument=instrument or InstrumentError(),
        interrupted=interrupted,
        early=early,
    )
