"""`[search]`: the run looks for the service's capacity instead of sending one plan."""

from __future__ import annotations

from typing import Any

from scenarios.definition import ArrivalKind, Arrivals, Search, Slo, Workload
from scenarios.metrics import ODD_PROFILE
from scenarios.toml.keys import FASTEST, HOMES, SEARCH_KEYS
from scenarios.toml_table import Table

STEADY = (ArrivalKind.CONSTANT, ArrivalKind.POISSON, ArrivalKind.GAMMA, ArrivalKind.WEIBULL)


def read_search(top: Table, workload: Workload | None, arrivals: Arrivals | None, slo: Slo) -> Search | None:
    table = top.table("search")
    if table is None:
        return None
    table.refuse_unknown(SEARCH_KEYS, HOMES)
    if arrivals is not None and arrivals.kind not in STEADY:
        fix = f"give arrivals of kind {', '.join(STEADY)}: `rate` is where it starts, `duration` how long it may take"
        table.refuse(None, f"a search cannot use arrivals of kind {arrivals.kind}", fix)
    if slo == Slo():
        table.refuse(None, "a search needs to know what a good answer is", "add [slo] with ttft_s, tpot_s or e2e_s")
    if "faults" in top or "matrix" in top or (workload is not None and workload.drift is not None):
        table.refuse(None, "a search holds everything but the rate", "remove faults, matrix and drift")
    if workload is not None and workload.profiles == {ODD_PROFILE} and not workload.safety_share:
        table.refuse(None, "odd probes have no SLO to search by", "add an ordinary profile to mix, or a safety_share")
    read: dict[str, Any] = {
        "share": table.number("share", above=0.5, high=0.999),
        "confidence": table.number("confidence", above=0.5, high=0.999),
        "precision": table.number("precision", low=0.005, high=0.5),
        "probes": table.whole("probes", low=4, high=100),
        "probe_s": table.duration("probe", low=5.0, high=3600.0),
        "low": table.number("low", above=0.0, high=FASTEST),
        "high": table.number("high", above=0.0, high=FASTEST),
    }
    if read["low"] is not None and read["high"] is not None and read["low"] >= read["high"]:
        table.refuse("low", f"low ({read['low']:g}) is not below high ({read['high']:g})", "swap them or remove one")
    return Search(**{key: value for key, value in read.items() if value is not None})
