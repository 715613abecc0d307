"""A gate on a percentile of seconds, decided by the order-statistic bounds of the quantile (stats.order)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec
from scenarios.gates.bound import BEYOND, alike_text, bound_text, gate_name, open_text, printable, side
from scenarios.gates.doubt import quantile_doubt
from scenarios.gates.evidence import extremes
from scenarios.gates.samples import Samples
from scenarios.metrics import METRICS, POOLED
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import needed, order
from scenarios.stats.alike import likeness
from scenarios.summary.columns import Floats

WORTH_SAYING = 0.8  # of the values, when they are worth no more than this


def judge_percentile(gate: GateSpec, samples: Samples) -> GateResult:
    """The gate over every request that has such a time; how many have none is said in the reason."""
    metric = METRICS[gate.metric]
    q = metric.quantile
    assert q is not None  # the registry gives every percentile one
    values, rows = samples.latencies(metric.family, gate.over)
    ordered = np.sort(values)
    measured = order.quantile(ordered, q)
    count = worth = order.effective_size(values, rows, q, measured or 0.0) if metric.family in POOLED else len(values)
    low, high = order.bounds(ordered, q, gate.confidence, worth)
    verdict = side(gate, low, high) if len(values) else GateVerdict.INCONCLUSIVE
    if verdict is not GateVerdict.FAIL and measured is not None and samples.context.even:
        worth = _among_neighbours(values, rows, measured, worth, pooled=metric.family in POOLED)
        low, high = order.bounds(ordered, q, gate.confidence, worth)
        verdict = side(gate, low, high)
    planned = int((~samples.columns.odd).sum())
    never = int(np.isinf(values).sum())
    notes: list[str] = []
    more = None
    if not len(values) and metric.family == "shed_s" and samples.columns.sent.any():
        verdict = GateVerdict.PASS  # it says how those are treated who are turned away, and there were none
        notes.append("no request was turned away")
    elif not len(values):
        notes.append(f"nothing was measured: no request had a {metric.family}")
    elif verdict is GateVerdict.INCONCLUSIVE:
        more = _more(gate, ordered, q, worth, len(samples.columns.index))
        notes.append(open_text(gate, more))
    if len(values) and (doubt := quantile_doubt(gate, verdict, metric.family, q, ordered, count, worth, samples)):
        verdict, more, notes = GateVerdict.INVALID, None, [doubt]
    if never:
        notes.append(f"{never} of {len(values)} requests never had a {metric.family} and count as infinitely late")
    if measured is not None and np.isinf(measured):
        notes.append(BEYOND)
    if metric.family not in ("itl_s", "shed_s") and 0 < len(values) < planned:
        notes.append(f"{planned - len(values)} of {planned} requests had no {metric.family} and are not in it")
    if worth < WORTH_SAYING * len(values):
        notes.append(alike_text(len(values), worth))
    return GateResult(
        name=gate_name(gate),
        metric=gate.metric,
        bound=bound_text(gate),
        phase=gate.phase,
        measured=printable(measured),
        interval=(printable(low, values), printable(high)) if len(values) else None,
        confidence=gate.confidence,
        verdict=verdict,
        n=len(values),
        evidence=extremes(samples.columns, values, rows, largest=gate.maximum is not None),
        needed=more,
        reason="; ".join(notes),
    )


def _among_neighbours(values: Floats, rows: npt.NDArray[np.intp], measured: float, worth: int, *, pooled: bool) -> int:
    """How many independent values these are worth where requests that follow each other are alike."""
    if not pooled:
        return max(1, int(worth / likeness(values <= measured, values)))
    over = np.bincount(rows, weights=values > measured)[np.unique(rows)].astype(np.float64)  # of each stream
    return max(1, int(worth / likeness(over > 0, over)))


def _more(gate: GateSpec, ordered: Floats, q: float, worth: int, requests: int) -> int | None:
    """How many more requests would settle each bound, at the yield of samples for each request seen so far."""
    n = len(ordered)
    answers: list[int | None] = []
    if gate.maximum is not None:
        keep = int(np.searchsorted(ordered, gate.maximum, side="right")) * worth / n
        answers.append(needed.more_for_quantile(keep, worth, q, gate.confidence))
    if gate.minimum is not None:
        under = int(np.searchsorted(ordered, gate.minimum, side="left")) * worth / n
        answers.append(needed.more_for_quantile(under, worth, q, gate.confidence, below_is_good=False))
    known = [needed.in_requests(answer, worth, requests) for answer in answers]
    return None if not known or None in known else max(answer for answer in known if answer is not None)
