"""Whether a run is meant to be alike from its beginning to its end, so that one part of it may speak for the rest."""

from __future__ import annotations

from scenarios.definition import Arrivals, Workload
from scenarios.metrics import COUNTS, METRICS, POOLED, MetricKind

# closed: as many users all along; a trace is as even as what was recorded, which nobody promised
STEADY_KINDS = frozenset({"constant", "poisson", "gamma", "weibull", "closed"})


def why_uneven(workload: Workload | None, arrivals: Arrivals | None, any_fault: bool, search: bool) -> str:
    """What changes in mid-run by plan; empty when nothing does. A part that is None could not be read: not counted."""
    if arrivals is not None and arrivals.kind.value not in STEADY_KINDS:
        return f"arrivals of kind {arrivals.kind.value} are not alike all along"
    if workload is not None and workload.drift is not None:
        return "its workload drifts"
    if search:
        return "a [search] changes the rate"
    return "it has [[faults]], a [matrix] or [chaos]" if any_fault else ""


def why_no_phase(metric: str) -> str:
    """Why a gate on this metric cannot look at a part of the run; empty when it can."""
    known = METRICS[metric]
    return "it is one number of a whole run" if known.kind is MetricKind.VALUE and metric not in COUNTS else ""


def why_not_sequential(metric: str) -> str:
    """Why a gate on this metric cannot be decided while the run goes on; empty when it can."""
    known = METRICS[metric]
    if known.kind in (MetricKind.VALUE, MetricKind.DIFFERENCE):
        return "it is one number of a whole run"
    return "gaps of one stream are not independent" if known.family in POOLED else ""
