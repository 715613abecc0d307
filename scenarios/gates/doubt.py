"""Whether a gate's decision could be the instrument's own doing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scenarios.definition import GateSpec
from scenarios.gates.bound import side
from scenarios.gates.samples import Samples
from scenarios.result import GateVerdict
from scenarios.stats import order
from scenarios.summary.columns import Floats
from scenarios.summary.rates import Share, Shift

SINCE_STAMP = frozenset({"itl_s", "tpot_s"})  # the distance of two stamps: lateness of the send plays no part


def quantile_doubt(
    gate: GateSpec,
    verdict: GateVerdict,
    family: str,
    q: float,
    ordered: Floats,
    count: int,
    worth: int,
    samples: Samples,
) -> str:
    """Why the verdict on the q-quantile of these sorted values cannot be trusted; empty when it can.

    `count` of them met the instrument each by itself; as witnesses of the quantile they are worth `worth`.
    """
    low, high = order.bounds(ordered, q, gate.confidence, worth)
    steps = 1
    if family == "tpot_s":
        counted = samples.columns.tokens[~np.isnan(samples.columns.latency_s["tpot_s"])]
        steps = max(1, int(counted.min()) - 1)  # the shortest answer's number bears most of a late stamp
    from_due = family not in SINCE_STAMP
    stamps = 1 if from_due else 2

    def moved(time_s: float, shift: Shift) -> float:
        return time_s * (1.0 + shift.stretch) + (shift.late_s if from_due else shift.stamp_s / steps)

    least, most = -math.inf, math.inf
    for doubt in samples.instrument.shorter(count, stamps, from_due):
        if doubt.share < q and (end := order.bounds(ordered, q - doubt.share, gate.confidence, worth)[0]) is not None:
            least = max(least, moved(end, doubt.shift))
    for doubt in samples.instrument.longer(count, stamps, from_due):
        above = q + doubt.share
        if above < 1.0 and (end := order.bounds(ordered, above, gate.confidence, worth)[1]) is not None:
            most = min(most, moved(end, doubt.shift))
    if verdict is GateVerdict.INCONCLUSIVE:
        if low is None or high is None or math.isinf(high) or (low - least) + (most - high) <= high - low:
            return ""
        return f"what keeps it open is the harness's own error, not the number of requests: {_span(least, most)}"
    if side(gate, least, most) is verdict:
        return ""
    return f"the {verdict.value} could be the harness's own doing: within its error {_span(least, most)}"


def rate_doubt(
    verdict: GateVerdict,
    found: Share,
    judge: Callable[[int], GateVerdict],
    shifted: Callable[[Shift], Share],
    samples: Samples,
) -> str:
    """The same for a share of requests that depends on their times: `shifted` counts it as measured otherwise."""
    fewest, most = 0, found.n
    for doubt in samples.instrument.longer(found.n, stamps=2):
        fewest = max(fewest, shifted(doubt.shift).hits - math.ceil(doubt.share * found.n - 1e-9))
    for doubt in samples.instrument.shorter(found.n, stamps=2):
        most = min(most, shifted(doubt.shift).hits + math.ceil(doubt.share * found.n - 1e-9))
    if verdict is GateVerdict.INCONCLUSIVE or (judge(fewest) is verdict and judge(most) is verdict):
        return ""
    return (
        f"the {verdict.value} could be the harness's own doing: within its error between {fewest} and {most} of "
        f"{found.n} requests are inside the SLO"
    )


def _span(least: float, most: float) -> str:
    return f"it lies between {max(least, 0.0):.4g} and {most:.4g} s"
