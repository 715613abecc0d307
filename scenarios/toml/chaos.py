"""`[chaos]`: the run looks for the smallest workload and faults that fail a gate, instead of sending one plan."""

from __future__ import annotations

from scenarios.definition import Chaos
from scenarios.toml.keys import CHAOS_KEYS, HOMES
from scenarios.toml.matrix import read_kinds
from scenarios.toml_table import Table

_CHOSEN = {
    "arrivals": "[arrivals]", "faults": "[[faults]]", "matrix": "[matrix]", "search": "[search]", "window": "[window]",
}  # fmt: skip
LONGEST_BUDGET_S = 86_400.0
LONGEST_SETTLE_S = 600.0


def read_chaos(top: Table) -> Chaos | None:
    table = top.table("chaos")
    if table is None:
        return None
    table.refuse_unknown(CHAOS_KEYS, HOMES)
    for other, written in _CHOSEN.items():
        if other in top:
            what = f"a chaos search chooses when requests come and what goes wrong, and there is {written}"
            table.refuse(None, what, f"remove {written} or [chaos]")
    if "gates" not in top:
        table.refuse(None, "a chaos search needs a gate that may fail", "add [[gates]]")
    default, settle_s = Chaos(), table.duration("settle", low=0.0, high=LONGEST_SETTLE_S)
    return Chaos(
        table.duration("budget", above=0.0, high=LONGEST_BUDGET_S) or default.budget_s,
        read_kinds(table),
        table.whole("most_faults", low=1, high=10) or default.most_faults,
        table.whole("most_requests", low=1, high=1000) or default.most_requests,
        default.settle_s if settle_s is None else settle_s,
    )
