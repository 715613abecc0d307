"""`[[faults]]`: what goes wrong on purpose, when, and how it ends."""

from __future__ import annotations

from scenarios.definition import Arrivals, FaultSpec
from scenarios.faults.blast import overrun
from scenarios.faults.kinds import KINDS, FaultKind, Param, Unit, Via
from scenarios.toml.conditions import read_condition
from scenarios.toml.keys import FAULT_KEYS, LONGEST_S, RANDOM_KEYS
from scenarios.toml_table import Table

DEFAULT_LENGTH_S = 5.0
MOST_TIMES = 1000
MOST_HITS = 1_000_000

Written = tuple[Table, FaultSpec]


def read_faults(top: Table, arrivals: Arrivals | None) -> tuple[Written, ...]:
    """Each fault with the table that it was read from, for what is still to be checked of all of them together."""
    faults = []
    for table in top.tables("faults"):
        noted = table.noted
        when = _read_when(table)
        fault = read_fault(table, when)
        if fault is not None and table.noted == noted:
            if (found := overrun(fault, arrivals.duration_s if arrivals else 0.0)) is not None:
                table.refuse(found.key if found.key in table else "at", found.what, found.fix)
            faults.append((table, fault))
    return tuple(faults)


def read_fault(table: Table, when: tuple[float, int, float] = (0.0, 1, 0.0)) -> FaultSpec | None:
    """All of a fault but `when` it comes: start, how often, and the end of the time that its moments are drawn from.

    None where its kind cannot be read; other mistakes are noted, and a default stands in.
    """
    name = table.word("kind", tuple(KINDS), "fault kind", required='"engine.kill"')
    if name is None:
        return None
    kind = KINDS[name]
    own = tuple(param.name for param in kind.params)
    for_s = _read_length(table, kind)
    share, hits = 1.0, 0
    if kind.via is Via.PROXY:
        share = table.number("share", above=0.0, high=1.0) or 1.0
        hits = table.whole("hits", low=1, high=MOST_HITS) or 0
    else:
        for key in {"share", "hits"} & set(table.keys):
            what = f"{key} is for faults that happen on the way (network, http, stream): {name} hits all there is"
            table.refuse(key, what, f"remove {key}")
    ends = table.table("until")
    until = read_condition(ends) if ends is not None else None
    if ends is not None and kind.instant:
        table.refuse("until", f"{name} is over as soon as it has struck", "remove until")
    table.refuse_unknown((*FAULT_KEYS, *own), {})
    params = tuple((param.name, _read_param(table, param)) for param in kind.params)
    at_s, times, by_s = when
    return FaultSpec(name, at_s, for_s, share, hits, until, params, times, by_s)


def _read_length(table: Table, kind: FaultKind) -> float:
    if not kind.instant:
        for_s = table.duration("for", above=0.0, high=LONGEST_S)
        return DEFAULT_LENGTH_S if for_s is None else for_s
    if "for" in table:
        table.refuse("for", f"{kind.name} is over as soon as it has struck", "remove for")
    return 0.0


def _read_param(table: Table, param: Param) -> float | str:
    name, low, high = param.name, param.low, param.high
    value: float | str | None
    match param.unit:
        case Unit.WORD:
            value = table.word(name, param.words, name)
        case Unit.SECONDS:
            value = table.duration(name, low=low, high=high)
        case Unit.BYTES:
            value = table.amount(name, low=low, high=high)
        case Unit.COUNT:
            value = table.number(name, low=low, high=high)
            if value is not None and value != int(value):
                table.refuse(name, f"{name} must be a whole number, not {value:g}", f"write {name} = {round(value)}")
        case Unit.RATE | Unit.SHARE:
            value = table.number(name, low=low, high=high)
    if value is None:
        return param.default
    return int(value) if param.unit in (Unit.BYTES, Unit.COUNT) else value


def _read_when(table: Table) -> tuple[float, int, float]:
    """Start, how often, and by when its moments lie; the last is 0 for one moment."""
    if "at" in table and "random" in table:
        table.refuse("random", "at and random are both given", "keep one of them")
    if "random" not in table:
        required = '"30s"' if "at" in table else '"30s", or random = { times = 3, from = "10s", to = "60s" }'
        return table.duration("at", required=required, low=0.0, high=LONGEST_S) or 0.0, 1, 0.0
    drawn = table.table("random")
    if drawn is None:
        return 0.0, 1, 0.0
    drawn.refuse_unknown(RANDOM_KEYS, {})
    times = drawn.whole("times", low=1, high=MOST_TIMES, required="3")
    from_s = drawn.duration("from", low=0.0, high=LONGEST_S, required='"10s"')
    to_s = drawn.duration("to", above=0.0, high=LONGEST_S, required='"60s"')
    if from_s is not None and to_s is not None and from_s >= to_s:
        drawn.refuse("to", f"random ends at {to_s:g} s, before it begins ({from_s:g} s)", "make from less than to")
    return from_s or 0.0, times or 1, to_s or 0.0
