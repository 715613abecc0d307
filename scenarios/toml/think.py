"""`think`: the pause between an answer and the next request."""

from __future__ import annotations

from scenarios.definition import Think
from scenarios.toml.keys import THINK_KEYS
from scenarios.toml_table import Table

BURSTY = 10.0  # the highest coefficient of variation that can be asked for
LONGEST_THINK_S = 3600.0


def read_think(table: Table) -> Think:
    """`think = "3s"`, always the same, or `think = { mean = "3s", cv = 1.0 }`; none: no pause."""
    if not table.is_table("think"):
        return Think(table.duration("think", low=0.0, high=LONGEST_THINK_S) or 0.0)
    inner = table.table("think")
    assert inner is not None
    inner.refuse_unknown(THINK_KEYS, {})
    mean_s = inner.duration("mean", required='"3s"', low=0.0, high=LONGEST_THINK_S)
    cv = inner.number("cv", low=0.0, high=BURSTY)
    return Think(mean_s or 0.0, 1.0 if cv is None else cv)
