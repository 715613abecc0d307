"""`[[abort]]`, and `until` of a fault: a live figure that stays beyond a bound."""

from __future__ import annotations

from scenarios.conditions import FIGURES
from scenarios.definition import Condition
from scenarios.toml.keys import CONDITION_KEYS, HOMES, LONGEST_S
from scenarios.toml_table import Table


def read_abort(top: Table) -> tuple[Condition, ...]:
    found = [read_condition(table) for table in top.tables("abort")]
    return tuple(condition for condition in found if condition is not None)


def read_condition(table: Table) -> Condition | None:
    """The condition; None when a mistake was noted."""
    noted = table.noted
    table.refuse_unknown(CONDITION_KEYS, HOMES)
    metric = table.word("metric", tuple(FIGURES), "live figure", required='"error_rate"')
    above, below = _bound(table, "above", metric), _bound(table, "below", metric)
    for_s = table.duration("for", low=0.0, high=LONGEST_S)
    if "above" in table and "below" in table:
        table.refuse("below", "above and below are both given", "keep one of them")
    if "above" not in table and "below" not in table:
        table.refuse(None, "the condition has neither above nor below", "add above = ... or below = ...")
    if metric is None or table.noted > noted:
        return None
    return Condition(metric, above, below, for_s or 0.0)


def _bound(table: Table, key: str, metric: str | None) -> float | None:
    """A bound in the unit of its figure."""
    if metric is None:
        return None
    match FIGURES[metric].unit:
        case "s":
            return table.duration(key, low=0.0)
        case "share":
            return table.number(key, low=0.0, high=1.0)
    return table.number(key, low=0.0)
