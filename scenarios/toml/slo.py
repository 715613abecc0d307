"""`[slo]`: what each single request must meet."""

from __future__ import annotations

from scenarios.definition import Slo
from scenarios.toml.keys import HOMES, SLO_KEYS
from scenarios.toml_table import Table


def read_slo(top: Table) -> Slo:
    table = top.table("slo")
    if table is None:
        return Slo()
    table.refuse_unknown(SLO_KEYS, HOMES)
    return Slo(**{key: table.duration(key, above=0.0, high=3600.0) for key in SLO_KEYS})
