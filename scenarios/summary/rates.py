"""Shares of requests: which rows count, and which of them hit. Every rate metric of a gate is defined here, once.

Odd probes are left out of every rate but `odd.correct` and `findings.*`: a server that answers garbage with 400 is
right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios.definition import Slo
from scenarios.observation import Outcome
from scenarios.summary.columns import Columns, Floats, Ints, Mask


@dataclass(frozen=True, slots=True)
class Share:
    """`hit` is a subset of `over`; both are masks over the rows."""

    hit: Mask
    over: Mask

    @property
    def hits(self) -> int:
        """How many hit."""
        return int(self.hit.sum())

    @property
    def n(self) -> int:
        """How many count."""
        return int(self.over.sum())

    @property
    def rate(self) -> float | None:
        """hits / n; None for n = 0."""
        return self.hits / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Shift:
    """A change of measured times, to ask what would be if the instrument had been that much off. Seconds and a factor.

    late_s: added to latencies from due. stamp_s: added to the distance of two stamps. stretch: a share of each time.
    """

    late_s: float = 0.0
    stamp_s: float = 0.0
    stretch: float = 0.0

    def of(self, times_s: Floats, added_s: float | Floats) -> Floats:
        """`times_s` as they would have been measured."""
        return times_s * (1.0 + self.stretch) + added_s


AS_MEASURED = Shift()


def good(columns: Columns, slo: Slo, shift: Shift = AS_MEASURED) -> Mask:
    """Which requests ended ok inside every bound of the SLO.

    Where an ok answer had no first token its end stands in for it. A time per token that cannot be told (fewer than two
    tokens, no usage, one piece) is not held against a request.
    """
    inside = columns.is_outcome(Outcome.OK) & ~columns.odd
    if slo.ttft_s is not None:
        ttft, whole = columns.latency_s["ttft_s"], columns.latency_s["e2e_s"]
        inside &= shift.of(np.where(np.isnan(ttft), whole, ttft), shift.late_s) <= slo.ttft_s
    if slo.e2e_s is not None:
        inside &= shift.of(columns.latency_s["e2e_s"], shift.late_s) <= slo.e2e_s
    if slo.tpot_s is not None:
        tpot = columns.latency_s["tpot_s"]
        inside &= np.isnan(tpot) | (shift.of(tpot, shift.stamp_s / np.maximum(columns.tokens - 1, 1)) <= slo.tpot_s)
    return inside


def missed_s(columns: Columns, slo: Slo) -> Floats:
    """When it was clear that a request would not end well inside the SLO, from the run's start; infinite for good ones.

    That is at its end, or before it when its first token or its end was due.
    """
    served = good(columns, slo)
    due_s = columns.due_s
    missed = np.where(served, np.inf, columns.end_s)
    if slo.ttft_s is not None:
        late = ~served & ~(columns.latency_s["ttft_s"] <= slo.ttft_s)
        missed[late] = np.minimum(missed[late], due_s[late] + slo.ttft_s)
    if slo.e2e_s is not None:
        late = ~served & (columns.end_s - due_s > slo.e2e_s)
        missed[late] = np.minimum(missed[late], due_s[late] + slo.e2e_s)
    return np.asarray(missed)


def share(columns: Columns, slo: Slo, metric: str, shift: Shift = AS_MEASURED) -> Share:
    """The rows behind a rate metric. Raises KeyError for a name that is no rate."""
    planned = ~columns.odd
    match metric:
        case "goodput":
            return Share(good(columns, slo, shift), planned)
        case "ok_rate":
            return Share(columns.is_outcome(Outcome.OK) & planned, planned)
        case "shed_rate":
            return Share(columns.is_outcome(Outcome.SHED) & planned, planned)
        case "error_rate":
            return Share(~columns.is_outcome(Outcome.OK, Outcome.SHED, Outcome.CANCELLED) & planned, planned)
        case "accuracy":
            return _correct(columns, planned)
        case "accuracy.era_a":
            return _correct(columns, planned & ~columns.era_b)
        case "accuracy.era_b":
            return _correct(columns, planned & columns.era_b)
        case "odd.correct":
            return Share((columns.correct == 1) & columns.odd, columns.odd)
    family, _, category = metric.partition(".")
    if family != "findings":
        raise KeyError(metric)
    hit = np.zeros(len(columns.index), dtype=np.bool_)
    for rows in _flagged(columns, category):
        hit[rows] = True
    return Share(hit, columns.has_text | hit)


def _correct(columns: Columns, rows: Mask) -> Share:
    return Share((columns.correct == 1) & rows, (columns.correct >= 0) & rows)


def _flagged(columns: Columns, category: str) -> tuple[Ints, ...]:
    if category == "any":
        return tuple(columns.flagged.values())
    found = columns.flagged.get(category)
    return () if found is None else (found,)
