"""What gates are judged on: the columns of a run, its facts, and the values that are no samples of requests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec, Over, Phase
from scenarios.gates.evidence import EVIDENCE
from scenarios.gates.instrument import InstrumentError
from scenarios.metrics import METRICS
from scenarios.observation import Outcome
from scenarios.result import FaultOutcome, FaultResult, Recovery
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.context import SummaryContext
from scenarios.summary.faults import extra_tries, fault_results, is_duplicated, is_lost, is_stuck, is_withheld
from scenarios.summary.phases import phase_rows
from scenarios.summary.rates import Share, Shift, share
from scenarios.summary.shadows import Shadow, aftermath_of
from scenarios.summary.window import Measured, cut, or_never

_COUNTED: Mapping[str, Callable[[Columns], npt.NDArray[Any]]] = {
    "lost": is_lost,
    "stuck": is_stuck,
    "retried": extra_tries,
    "duplicated": is_duplicated,
}
DEPENDS_ON_TIMES = frozenset({"goodput"})  # of the shares


@dataclass(frozen=True, slots=True)
class Value:
    """One number. `at_least` is set instead where the run ended before it was known: it is that much or more."""

    measured: float | None = None
    at_least: float | None = None
    n: int = 0
    why: str = ""  # why there is none
    interval: tuple[float | None, float | None] | None = None  # where it was estimated; None: known as it is
    evidence: tuple[int, ...] = ()  # indexes of requests that it counts


@dataclass(frozen=True, slots=True)
class Samples:
    """columns: of the requests in the measured window, and of `phase` only; `whole`: of all.

    interrupted: requests that were never sent, or cut off by the stop, then count in no rate. early: the gates ended
    the run before its plan did.
    """

    columns: Columns
    whole: Columns
    context: SummaryContext
    recovery: tuple[Recovery, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    faults: tuple[FaultResult, ...] = ()
    phase: Phase = Phase.WHOLE
    instrument: InstrumentError = field(default_factory=InstrumentError)
    interrupted: bool = False
    early: bool = False

    def part(self, phase: Phase) -> Samples:
        """Only what was due in that part of the run."""
        if phase is Phase.WHOLE:
            return self
        columns = cut(self.columns, phase_rows(self.columns, self.shadows, phase, self.context.slo))
        return dataclasses.replace(self, columns=columns, phase=phase)

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
                return self._recovery(1.0)
            case "recovery_s.p95":
                return self._recovery(0.95)
            case "lost" | "stuck" | "retried" | "duplicated":
                return self._counted(metric)
            case "detect_s.max":
                found = [one.detected_s for one in self.faults if one.detected_s is not None]
                return Value(max(found), n=len(found)) if found else Value(why="no fault was noticed")
            case "budget_spent":
                return self._budget()
            case "fingerprints":
                names = self.whole.fingerprints
                why = "" if names else "no answer named its model"
                return Value(float(len(names)) if names else None, n=sum(names.values()), why=why)
            case "engine.restarts":
                count = self.context.engine_restarts
                why = "restarts are known only of what is started here: the embedded engine, or what --launch starts"
                return Value(why=why) if count is None else Value(float(count), n=1)
            case "capacity.rate":
                return self._capacity()
            case "drift.detected" | "drift.delay_s" | "drift.accuracy_drop":
                return self._drift(metric.partition(".")[2])
        raise KeyError(metric)

    def _recovery(self, q: float) -> Value:
        """The q-quantile of the ways back; one that was not seen counts with as long as service is known to have been
        out, and the whole is at least so much then.
        """
        if not self.recovery:
            return Value(why="no disturbance happened")
        by_length = sorted(self.recovery, key=lambda one: (one.recovered_s is None, one.recovered_s or 0.0))
        rank = max(1, math.ceil(q * len(by_length) - 1e-9))
        measured = by_length[rank - 1].recovered_s
        if measured is not None:
            return Value(measured, n=len(self.recovery))
        known = sorted(one.watched_s or 0.0 if one.recovered_s is None else one.recovered_s for one in self.recovery)
        first = min((one for one in self.recovery if one.recovered_s is None), key=lambda one: one.at_s)
        why = f"after {first.cause} at {first.at_s:g} s service was not seen to come back inside the SLO"
        return Value(at_least=known[rank - 1], n=len(self.recovery), why=why)

    def _counted(self, metric: str) -> Value:
        columns = self.columns
        n = int((~columns.odd).sum())
        if not n:
            return Value(why="no request counts for it")
        each = _COUNTED[metric](columns)
        if metric == "stuck":
            each &= ~is_withheld(columns, self.shadows)
        count = int(each.sum())
        if metric == "stuck" and self.phase in (Phase.WHOLE, Phase.AFTER):
            count += sum(one.outcome is FaultOutcome.STUCK for one in self.faults)
        return Value(float(count), n=n, evidence=tuple(columns.index[np.flatnonzero(each)[:EVIDENCE]].tolist()))

    def _budget(self) -> Value:
        if self.context.objective is None:
            return Value(why="there is no error budget without a gate on the goodput of the whole run")
        spent = [one.budget_spent for one in self.faults if one.budget_spent is not None]
        if not spent:
            none = "the gate on the goodput of the whole run lets no request fail, so there is no budget"
            return Value(why=none if self.faults and self.context.objective == 1.0 else "no fault was brought about")
        return Value(sum(spent), n=len(spent))

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
    aftermath = aftermath_of(columns, context)
    return Samples(
        columns=columns if measured is None else measured.columns,
        whole=columns,
        context=context,
        recovery=aftermath.recovery,
        shadows=aftermath.shadows,
        faults=fault_results(columns, context, aftermath),
        instrument=instrument or InstrumentError(),
        interrupted=interrupted,
        early=early,
    )
