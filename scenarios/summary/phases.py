"""Which part of a run with faults a request belongs to: before them, while any was on, after the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenarios.definition import Phase, Slo
from scenarios.summary.columns import Columns, Mask
from scenarios.summary.rates import missed_s
from scenarios.summary.shadows import Shadow


def phase_rows(columns: Columns, shadows: Sequence[Shadow], phase: Phase, slo: Slo) -> Mask:
    """The rows of a phase; none of a run without a fault, save for the whole.

    By due time; but one that was still under way when a fault began, and had not missed its SLO before, belongs to
    the time of that fault. A fault that is over at once is on until the end of its shadow. After: once service was back
    from all of them, and where it never came back, once the fault was over.
    """
    due_s = columns.due_s
    if phase is Phase.WHOLE:
        return np.ones(len(due_s), dtype=np.bool_)
    if not shadows:
        return np.zeros(len(due_s), dtype=np.bool_)
    starts = np.array([shadow.fault.at_s for shadow in shadows])  # in their order
    begun = np.searchsorted(starts, due_s, side="right")
    struck = np.minimum(columns.end_s, missed_s(columns, slo)) >= np.append(starts, np.inf)[begun]
    if phase is Phase.BEFORE:
        return np.asarray((begun == 0) & ~struck)
    if phase is Phase.DURING:
        ends = [shadow.until_s if shadow.fault.instant else shadow.fault.end_s for shadow in shadows]
        return np.asarray(struck | ((begun > 0) & (due_s < np.maximum.accumulate(ends)[begun - 1])))
    over = (shadow.from_s if shadow.back_s is None else max(shadow.until_s, shadow.fault.end_s) for shadow in shadows)
    return np.asarray(due_s >= max(over))
