"""`[matrix]`: every kind of fault in turn, each in a slot of its own; and which kinds a pattern means."""

from __future__ import annotations

from fnmatch import fnmatchcase

from scenarios.definition import Arrivals, FaultSpec, Matrix
from scenarios.faults.kinds import KINDS
from scenarios.toml.keys import HOMES, LONGEST_S, MATRIX_KEYS
from scenarios.toml_table import Table, suggestion


def read_matrix(top: Table, arrivals: Arrivals | None) -> Matrix | None:
    table = top.table("matrix")
    if table is None:
        return None
    table.refuse_unknown(MATRIX_KEYS, HOMES)
    noted, default = table.noted, Matrix()
    kinds = read_kinds(table)
    slot_s = table.duration("slot", above=0.0, high=LONGEST_S) or default.slot_s
    lead_s = table.duration("lead", low=0.0, high=LONGEST_S)
    lead_s = default.lead_s if lead_s is None else lead_s
    length_s = table.duration("length", above=0.0, high=LONGEST_S) or default.length_s
    matrix = Matrix(kinds, slot_s, lead_s, length_s)
    if table.noted > noted:
        return matrix
    if lead_s + length_s >= slot_s:
        what = f"a fault of {length_s:g} s that begins after {lead_s:g} s leaves nothing of a slot of {slot_s:g} s"
        table.refuse(None, what, "make slot longer than lead and length together: the rest is for recovering")
        return matrix
    many = len(kinds or KINDS)
    if arrivals is not None and not arrivals.duration_s:
        table.refuse(None, "a closed loop has no duration to lay slots out in", "use open arrivals")
    elif arrivals is not None and many * slot_s > arrivals.duration_s + 1e-9:
        what = f"{many} slots of {slot_s:g} s take {many * slot_s:g} s, longer than the run ({arrivals.duration_s:g} s)"
        table.refuse(None, what, f'give arrivals a duration of "{many * slot_s:g}s", or fewer faults')
    return matrix


def slots(matrix: Matrix | None) -> tuple[FaultSpec, ...]:
    """The faults of a matrix with their defaults, in the order of the registry or of its author."""
    if matrix is None:
        return ()
    return tuple(
        FaultSpec(
            name,
            number * matrix.slot_s + matrix.lead_s,
            0.0 if KINDS[name].instant else matrix.length_s,
            params=tuple((param.name, param.default) for param in KINDS[name].params),
        )
        for number, name in enumerate(matrix.kinds or KINDS)
    )


def read_kinds(table: Table) -> tuple[str, ...]:
    """The kinds that `faults` names, by name, family or a pattern such as "network.*"; none where it says nothing."""
    found: dict[str, None] = {}
    for pattern in table.names("faults") or ():
        hits = [name for name, kind in KINDS.items() if fnmatchcase(name, pattern) or kind.family == pattern]
        if not hits:
            table.refuse("faults", f"no fault kind {pattern[:60]!r}", suggestion(pattern, tuple(KINDS)))
        found |= dict.fromkeys(hits)
    return tuple(found)
