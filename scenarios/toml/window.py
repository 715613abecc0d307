"""`[window]`: which part of the run its numbers speak of."""

from __future__ import annotations

from scenarios.definition import Arrivals, GateSpec, WarmupRule, WindowSpec, Workload
from scenarios.steady import why_uneven
from scenarios.toml.keys import HARMFUL, HOMES, WINDOW_KEYS
from scenarios.toml_table import Table

_WORDS = ("auto", "none")


def read_window(
    top: Table, workload: Workload | None, arrivals: Arrivals | None, gates: tuple[GateSpec, ...]
) -> WindowSpec:
    """What the author says; without a word of theirs "auto" where the end of a warm-up can be found, else "none"."""
    uneven = why_uneven(workload, arrivals, any(key in top for key in HARMFUL), "search" in top)
    live = any(gate.sequential for gate in gates)
    table = top.table("window")
    if table is not None:
        table.refuse_unknown(WINDOW_KEYS, HOMES)
    if table is None or "warmup" not in table:
        return WindowSpec(WarmupRule.NONE if uneven or live else WarmupRule.AUTO)
    if (word := table.one_of("warmup", _WORDS)) is None:
        warmup_s = table.duration("warmup", low=0.0)
        if warmup_s and arrivals and 0.0 < arrivals.duration_s <= warmup_s:
            what = f"the warm-up ({warmup_s:g} s) is as long as the run ({arrivals.duration_s:g} s)"
            table.refuse("warmup", what, "make the warm-up shorter or the run longer")
        return WindowSpec(WarmupRule.TIME, warmup_s) if warmup_s else WindowSpec()
    if word == "auto" and uneven:
        what = f"a warm-up cannot be told from what the run does by plan: {uneven}"
        table.refuse("warmup", what, 'write "none" or a time such as "10s"')
    elif word == "auto" and live:
        what = "a warm-up is found after the run, but sequential gates are decided while it goes on"
        table.refuse("warmup", what, 'write "none" or a time such as "10s"')
    return WindowSpec(WarmupRule(word))
