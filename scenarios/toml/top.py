"""A whole scenario file: the top of it, and each section by its own reader."""

from __future__ import annotations

import dataclasses

from scenarios.chaos.one_try import undisturbed
from scenarios.definition import Scenario
from scenarios.toml.arrivals import read_arrivals
from scenarios.toml.blast import check_blast, read_blast
from scenarios.toml.chaos import read_chaos
from scenarios.toml.conditions import read_abort
from scenarios.toml.engine import read_engine
from scenarios.toml.faults import read_faults
from scenarios.toml.gates import read_gates
from scenarios.toml.keep import read_keep
from scenarios.toml.keys import HOMES, TOP_KEYS
from scenarios.toml.matrix import read_matrix, slots
from scenarios.toml.search import read_search
from scenarios.toml.slo import read_slo
from scenarios.toml.window import read_window
from scenarios.toml.workload import read_workload
from scenarios.toml_table import Table


def read_top(top: Table, text: str) -> Scenario | None:
    """The scenario; None only when a mistake was noted."""
    top.refuse_unknown(TOP_KEYS, HOMES)
    name = top.text("name", required='"my-trial"', longest=100)
    about = top.text("about") or ""
    timeout_s = top.duration("timeout", above=0.0, high=3600.0)
    chaos = read_chaos(top)
    arrivals = read_arrivals(top) if chaos is None else undisturbed(chaos).arrivals
    workload = read_workload(top, arrivals)
    noted = top.noted
    written, matrix = read_faults(top, arrivals), read_matrix(top, arrivals)
    abort, blast = read_abort(top), read_blast(top)
    if top.noted == noted:
        check_blast(top, written, slots(matrix), blast)
    faults = (*(fault for _, fault in written), *slots(matrix))
    gates = read_gates(top, workload, arrivals)
    window = read_window(top, workload, arrivals, gates)
    slo, engine = read_slo(top), read_engine(top)
    search, keep = read_search(top, workload, arrivals, slo), read_keep(top)
    if name is None or workload is None or arrivals is None:
        return None
    scenario = Scenario(
        name, about, workload, arrivals, slo, engine, faults, gates, window, keep=keep, search=search,
        abort=abort, blast=blast, matrix=matrix, chaos=chaos, source=text,
    )  # fmt: skip
    return scenario if timeout_s is None else dataclasses.replace(scenario, timeout_s=timeout_s)
