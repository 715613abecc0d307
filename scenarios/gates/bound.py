"""A gate's bound: how it reads, and on which side of it an interval lies."""

from __future__ import annotations

import math

import numpy as np

from scenarios.definition import GateSpec, Phase
from scenarios.metrics import METRICS
from scenarios.result import GateVerdict
from scenarios.summary.columns import Floats

BEYOND = "so many requests were never answered that the percentile lies beyond every time measured"


def gate_name(gate: GateSpec) -> str:
    """What reports call it: its own name, else the metric and the part of the run."""
    return gate.name or (gate.metric if gate.phase is Phase.WHOLE else f"{gate.metric} {gate.phase}")


def bound_text(gate: GateSpec) -> str:
    """ "<= 0.8", ">= 0.95" or ">= 0.1 and <= 0.2"."""
    parts = [] if gate.minimum is None else [f">= {gate.minimum:g}"]
    return " and ".join(parts if gate.maximum is None else [*parts, f"<= {gate.maximum:g}"])


def side(gate: GateSpec, low: float | None, high: float | None) -> GateVerdict:
    """Pass or fail when the interval lies wholly on one side of the bound; a missing end is open to infinity."""
    least = -math.inf if low is None else low
    most = math.inf if high is None else high
    floor = -math.inf if gate.minimum is None else gate.minimum
    ceiling = math.inf if gate.maximum is None else gate.maximum
    if most < floor or least > ceiling:
        return GateVerdict.FAIL
    return GateVerdict.PASS if least >= floor and most <= ceiling else GateVerdict.INCONCLUSIVE


def allows_no_exception(gate: GateSpec) -> bool:
    """Whether the bound of a share is the edge of its range (at most 0, at least 1): one counter-example fails it."""
    if METRICS[gate.metric].quantile is not None:
        return False  # seconds have no such edge: at least 1 s is a bound like any other
    return gate.maximum == 0.0 or gate.minimum == 1.0


def open_text(gate: GateSpec, more: int | None) -> str:
    """Why a gate is open; `more` requests would close it, and None when no number up to a million would."""
    text = f"the {gate.confidence * 100:g} % interval reaches across the bound"
    return text if more is not None else f"{text}, and no number up to a million more requests would settle it"


def alike_text(n: int, worth: float) -> str:
    """Why an interval is wider than `n` values would make it."""
    return f"values that follow each other are alike: {n:,} weigh as {worth:,.0f} independent ones"


def printable(end: float | None, values: Floats | None = None) -> float | None:
    """One end of an interval as it can be written: infinity is no end. With `values` a lower end: at least the largest
    that is finite.
    """
    if end is None or math.isfinite(end):
        return end
    finite = None if values is None else values[np.isfinite(values)]
    return None if finite is None or not len(finite) else float(finite.max())
