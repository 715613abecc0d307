"""A gate on a percentile of seconds, decided by the order-statistic bounds of the quantile (stats.order)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec
from scenarios.gates.bound import bound_text, open_text, side
from scenarios.gates.doubt import quantile_doubt
from scenarios.gates.samples import Samples
from scenarios.metrics import METRICS
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import needed, order
from scenarios.summary.columns import Floats

EVIDENCE = 5


def judge_percentile(gate: GateSpec, samples: Samples) -> GateResult:
    """The gate over every request that has such a time; how many have none is said in the reason."""
    metric = METRICS[gate.metric]
    q = metric.quantile
    assert q is not None  # the registry gives every percentile one
    values, rows = samples.latencies(metric.family)
    ordered = np.sort(values)
    measured = order.quantile(ordered, q)
    worth = _worth(metric.family, values, rows, q, measured)
    low, high = order.bounds(ordered, q, gate.confidence, worth)
    verdict = side(gate, low, high) if len(values) else GateVerdict.INCONCLUSIVE
    planned = int((~samples.columns.odd).sum())
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
    if len(values) and (doubt := quantile_doubt(gate, verdict, metric.family, q, ordered, worth, samples)):
        verdict, more, notes = GateVerdict.INVALID, None, [doubt]
    if metric.family not in ("itl_s", "shed_s") and 0 < len(values) < planned:
        notes.append(f"{planned - len(values)} of {planned} requests had no {metric.family} and are not in it")
    if worth < len(values):
        notes.append(f"gaps of one stream are alike: {len(values)} gaps weigh as {worth} independent ones")
    return GateResult(
        name=gate.name or gate.metric,
        metric=gate.metric,
        bound=bound_text(gate),
        measured=measured,
        interval=(low, high) if len(values) else None,
        confidence=gate.confidence,
        verdict=verdict,
        n=len(values),
        evidence=_extremes(samples, values, rows, largest=gate.maximum is not None),
        needed=more,
        reason="; ".join(notes),
    )


def _worth(family: str, values: Floats, rows: npt.NDArray[np.intp], q: float, measured: float | None) -> int:
    """How many independent values these are worth; those of one stream are not independent."""
    if family != "itl_s" or measured is None:
        return len(values)
    return order.effective_size(values, rows, q, measured)


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


def _extremes(samples: Samples, values: Floats, rows: npt.NDArray[np.intp], *, largest: bool) -> tuple[int, ...]:
    """Indexes of the requests with the most extreme values, the most extreme first, each once."""
    if not len(values):
        return ()
    starts = np.flatnonzero(np.diff(rows, prepend=-1))  # the values of one request stand together
    keys = np.minimum.reduceat(-values if largest else values, starts)
    worst = np.partition(keys, min(EVIDENCE, len(keys)) - 1)[min(EVIDENCE, len(keys)) - 1]
    near = np.flatnonzero(keys <= worst)
    chosen = near[np.argsort(keys[near], kind="stable")][:EVIDENCE]
    return tuple(int(samples.columns.index[row]) for row in rows[starts[chosen]])
