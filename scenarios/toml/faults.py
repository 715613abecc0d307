"""`[[faults]]`: what goes wrong on purpose."""

from __future__ import annotations

from scenarios.definition import Arrivals, FaultSpec
from scenarios.toml.keys import FAULT_KINDS
from scenarios.toml_table import Table


def read_faults(top: Table, arrivals: Arrivals | None) -> tuple[FaultSpec, ...]:
    faults = []
    for table in top.tables("faults"):
        kind = table.word("kind", tuple(FAULT_KINDS), "fault kind", required='"engine.kill"')
        at_s = table.duration("at", required='"30s"', low=0.0)
        if arrivals and arrivals.duration_s and at_s is not None and at_s >= arrivals.duration_s:
            what = f"the fault starts at {at_s:g} s, after the end of the run ({arrivals.duration_s:g} s)"
            table.refuse("at", what, "start it earlier or make the run longer")
        if kind is None:
            continue
        known = FAULT_KINDS[kind]
        table.refuse_unknown(("kind", "at", *known), {})
        params = {name: table.word(name, values, name) or values[0] for name, values in known.items()}
        if at_s is not None:
            faults.append(FaultSpec(kind, at_s, params=tuple(params.items())))
    return tuple(faults)
