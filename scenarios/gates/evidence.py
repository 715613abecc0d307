"""Which requests weigh most for a gate's verdict: the slowest, the fastest, those that ended badly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec
from scenarios.observation import Outcome
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.rates import Share

EVIDENCE = 5


def extremes(columns: Columns, values: Floats, rows: npt.NDArray[Any], *, largest: bool) -> tuple[int, ...]:
    """Indexes of the requests with the most extreme values, the most extreme first, each once."""
    if not len(values):
        return ()
    starts = np.flatnonzero(np.diff(rows, prepend=-1))  # the values of one request stand together
    keys = np.minimum.reduceat(-values if largest else values, starts)
    worst = np.partition(keys, min(EVIDENCE, len(keys)) - 1)[min(EVIDENCE, len(keys)) - 1]
    near = np.flatnonzero(keys <= worst)
    chosen = near[np.argsort(keys[near], kind="stable")][:EVIDENCE]
    return tuple(int(columns.index[row]) for row in rows[starts[chosen]])


def against(gate: GateSpec, columns: Columns, found: Share) -> tuple[int, ...]:
    """Indexes of requests that weigh against a share's bound: those that ended badly first, then the slowest."""
    rows = np.flatnonzero(found.over & ~found.hit) if gate.minimum is not None else np.flatnonzero(found.hit)
    if not len(rows):
        return ()
    ok = columns.is_outcome(Outcome.OK)[rows]
    took_s = (columns.end_s - columns.due_s)[rows]
    first = np.lexsort((rows, -took_s, ok))[:EVIDENCE]
    return tuple(int(columns.index[row]) for row in rows[first])
