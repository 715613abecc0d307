"""A gate judged by a test that holds at every moment: a sequential one, or any in a run that ended early (sequential).

The same observations give the same decision at the same trial, whether they are looked at while the run goes on or
years later: interval and measured value are those of the moment at which the gate was decided.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec
from scenarios.gates.bound import BEYOND, bound_text, gate_name, open_text, printable
from scenarios.gates.doubt import SINCE_STAMP
from scenarios.gates.evidence import against, extremes
from scenarios.gates.samples import DEPENDS_ON_TIMES, Samples
from scenarios.gates.sequential import BoundTest, Decision, decide
from scenarios.metrics import METRICS
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import needed, order
from scenarios.summary.columns import Floats
from scenarios.summary.rates import AS_MEASURED, Share, Shift


def judge_anytime(gate: GateSpec, samples: Samples) -> GateResult:
    """The gate over the trials of the run in the order of the plan, up to the one that decided it; one at least."""
    values, rows = samples.trials(gate, AS_MEASURED)
    decision = decide(gate, values)
    seen, q = values[: decision.n], METRICS[gate.metric].quantile
    measured = float(seen.mean()) if q is None else order.quantile(np.sort(seen), q)
    low, high = _interval(values, q, decision)
    verdict, more = decision.verdict, None
    if verdict is GateVerdict.INCONCLUSIVE:
        more = _more(decision, len(samples.columns.index))
        notes = [open_text(gate, more)]
    elif doubt := _doubt(gate, decision, samples):
        verdict, notes = GateVerdict.INVALID, [doubt]
    else:
        notes = [
            f"decided by the first {decision.n:,} of {len(values):,} trials, with the error of looking all the time"
        ]
    if measured is not None and not np.isfinite(measured):
        notes.append(BEYOND)
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=printable(measured),
        interval=(printable(low, seen), printable(high)),
        confidence=gate.confidence,
        verdict=verdict,
        n=decision.n,
        evidence=_evidence(gate, samples, seen, rows[: decision.n]),
        needed=more,
        reason="; ".join(notes),
    )


def _interval(values: Floats, q: float | None, decision: Decision) -> tuple[float | None, float | None]:
    """What all tests that decided leave open, each as it stood when it spoke."""
    lows: list[float] = []
    highs: list[float] = []
    for bound, _, hits, n, alike in decision.spoken:
        if q is None:
            low, high = bound.test.interval(hits / alike, n / alike)
            lows.append(low)
            highs.append(high)
            continue
        ordered = np.sort(values[:n])
        least, most = bound.test.ranks(n, alike)
        lows += [] if least is None else [float(ordered[least - 1])]
        highs += [] if most is None else [float(ordered[most - 1])]
    return max(lows, default=None), min(highs, default=None)


def _more(decision: Decision, requests: int) -> int | None:
    """How many more requests would make every test speak that has not."""
    answers = []
    for bound, side, hits, n, alike in decision.spoken:
        if not side:
            more = needed.more_for_test(bound.test, hits / alike, n / alike)
            answers.append(needed.in_requests(more, n / alike, requests))
    known = [answer for answer in answers if answer is not None]
    return max(known) if known and len(known) == len(answers) else None


def _doubt(gate: GateSpec, decision: Decision, samples: Samples) -> str:
    """Why the decision could be the instrument's own doing (gates.instrument); empty when it could not."""
    metric = METRICS[gate.metric]
    if metric.quantile is None and gate.metric not in DEPENDS_ON_TIMES:
        return ""
    from_due = metric.family not in SINCE_STAMP
    stamps = 1 if from_due and metric.quantile is not None else 2
    for bound, side, _, n, alike in decision.spoken:

        def hits(shift: Shift, bound: BoundTest = bound, n: int = n) -> int:
            return int(bound.hits(samples.trials(gate, shift)[0][:n]).sum())

        fewest, most = 0, n  # the shorter the times, the more hits
        for doubt in samples.instrument.longer(n, stamps, from_due):
            fewest = max(fewest, hits(doubt.shift) - math.ceil(doubt.share * n - 1e-9))
        for doubt in samples.instrument.shorter(n, stamps, from_due):
            most = min(most, hits(doubt.shift) + math.ceil(doubt.share * n - 1e-9))
        if any(bound.test.side(count / alike, n / alike) != side for count in (fewest, most)):
            what = f"between {max(0, fewest)} and {min(n, most)} of {n} requests are hits within its error"
            return f"the {decision.verdict.value} could be the harness's own doing: {what}"
    return ""


def _evidence(gate: GateSpec, samples: Samples, seen: Floats, rows: npt.NDArray[np.intp]) -> tuple[int, ...]:
    columns = samples.columns
    if METRICS[gate.metric].quantile is not None:
        return extremes(columns, seen, rows, largest=gate.maximum is not None)
    over = np.zeros(len(columns.index), dtype=np.bool_)
    hit = over.copy()
    over[rows], hit[rows] = True, seen > 0.5
    return against(gate, columns, Share(hit, over))
