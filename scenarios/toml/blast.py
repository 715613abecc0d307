"""`[blast_radius]`: how much harm the faults of the scenario may do, held against all of them."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.definition import Blast, FaultSpec
from scenarios.faults.blast import excess
from scenarios.toml.faults import Written
from scenarios.toml.keys import BLAST_KEYS, HOMES, LONGEST_S
from scenarios.toml_table import Table

MOST_AT_ONCE = 100


def read_blast(top: Table) -> Blast:
    table = top.table("blast_radius")
    if table is None:
        return Blast()
    table.refuse_unknown(BLAST_KEYS, HOMES)
    share = table.number("share", above=0.0, high=1.0)
    at_once = table.whole("at_once", low=1, high=MOST_AT_ONCE)
    length_s = table.duration("length", above=0.0, high=LONGEST_S)
    default = Blast()
    return Blast(share or default.share, at_once or default.at_once, length_s or default.length_s)


def check_blast(top: Table, written: Sequence[Written], others: Sequence[FaultSpec], blast: Blast) -> None:
    """Note what goes beyond it: at the fault, or at [matrix] for those of the matrix (`others`)."""
    tables = {id(fault): table for table, fault in written}
    seen = set()
    for found in excess([*(fault for _, fault in written), *others], blast):
        table = tables.get(id(found.fault))
        if table is not None:
            table.refuse(found.key if found.key in table else None, found.what, found.fix)
        elif found.key not in seen:  # of all faults of a matrix the first
            seen.add(found.key)
            top.refuse("matrix", found.what, found.fix)
