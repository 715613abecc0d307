"""A probe as it was planned and journalled, and what its requests showed once they are over."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from scenarios.capacity.probe import Kind, Probe, Record, measure
from scenarios.definition import Slo
from scenarios.observation import Outcome
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.rates import good


class PlannedProbe(msgspec.Struct, frozen=True, kw_only=True):
    """`count` requests of the run from index `first` on, due from `start_s` of the run at `rate` per second.

    A ramp rises to `end_rate`; a steady probe has the same in both.
    """

    kind: Kind
    rate: float
    end_rate: float
    duration_s: float
    start_s: float
    first: int
    count: int


def probes_of(planned: Iterable[PlannedProbe], columns: Columns, slo: Slo) -> tuple[Probe, ...]:
    """What each probe showed, up to the first that was cut short or has no request: it tells too little."""
    probes: list[Probe] = []
    inside, spare_s = good(columns, slo), _spare_s(columns, slo)
    due_s, end_s, ttft_s = columns.due_s, columns.end_s, columns.latency_s["ttft_s"]
    lost = columns.is_outcome(Outcome.UNSENT) | (columns.is_outcome(Outcome.CANCELLED) & ~columns.hangs_up)
    ok, shed = columns.is_outcome(Outcome.OK), columns.is_outcome(Outcome.SHED)
    for one in planned:
        rows = np.flatnonzero((columns.index >= one.first) & (columns.index < one.first + one.count) & ~columns.odd)
        if len(rows) == 0 or lost[rows].any():
            break
        record = Record(
            due_s=due_s[rows] - one.start_s,
            end_s=end_s[rows] - one.start_s,
            ok=ok[rows],
            good=inside[rows],
            shed=shed[rows],
            ttft_s=ttft_s[rows],
            spare_s=spare_s[rows],
        )
        probes.append(measure(one.kind, one.rate, one.end_rate, one.duration_s, record))
    return tuple(probes)


def _spare_s(columns: Columns, slo: Slo) -> Floats:
    """How much longer each request could have waited and met the SLO still; NaN where nothing was measured.

    The time per token has no part in it: it does not grow with the wait.
    """
    spare = np.full(len(columns.index), np.nan)
    for name, bound_s in (("ttft_s", slo.ttft_s), ("e2e_s", slo.e2e_s)):
        if bound_s is not None:
            spare = np.fmin(spare, bound_s - columns.latency_s[name])
    return spare
