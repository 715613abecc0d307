"""`[workload]`: where requests come from."""

from __future__ import annotations

from scenarios.definition import Drift, Workload
from scenarios.metrics import ODD_PROFILE
from scenarios.toml.keys import DRIFT_KEYS, HOMES, PROFILE_NAMES, WORKLOAD_KEYS
from scenarios.toml_table import Table, suggestion

UNKNOWN_DRIFT = Drift(0.0, 1.0)  # stands in for one that could not be read: gates on drift are not a second mistake


def read_workload(top: Table) -> Workload | None:
    table = top.table("workload", required='profile = "support-chat"')
    if table is None:
        return None
    table.refuse_unknown(WORKLOAD_KEYS, HOMES)
    mix = _read_mix(table)
    share = table.number("safety_share", low=0.0, high=1.0)
    drift_table = table.table("drift")
    drift = _read_drift(drift_table) if drift_table else UNKNOWN_DRIFT if "drift" in table else None
    if drift_table and mix and not {name for name, weight in mix if weight > 0} - {ODD_PROFILE}:
        table.refuse("drift", "odd input cannot drift", "add an ordinary profile to mix, or remove drift")
    return None if mix is None else Workload(mix, drift, share or 0.0)


def _read_mix(table: Table) -> tuple[tuple[str, float], ...] | None:
    if "profile" in table and "mix" in table:
        table.refuse("mix", "profile and mix are both given", "keep one of them")
        return None
    if "mix" not in table:
        profile = table.word("profile", PROFILE_NAMES, "profile", required='"support-chat"')
        return None if profile is None else ((profile, 1.0),)
    weights = table.table("mix")
    if weights is None:
        return None
    read = {name: weights.number(name, low=0.0, high=1e6) for name in weights.keys if name in PROFILE_NAMES}
    for name in weights.keys:
        if name not in PROFILE_NAMES:
            weights.refuse(name, f"unknown profile {name[:60]!r}", suggestion(name, PROFILE_NAMES))
    mix = tuple((name, weight) for name, weight in read.items() if weight is not None)
    if len(mix) < len(weights.keys):
        return None
    if not any(weight > 0 for _, weight in mix):
        table.refuse("mix", "mix has no profile with a weight above 0", 'write mix = { "support-chat" = 1.0 }')
        return None
    return mix


def _read_drift(table: Table) -> Drift:
    table.refuse_unknown(DRIFT_KEYS, {})
    start = table.number("start", required="0.4", low=0.0, high=1.0)
    end = table.number("end", required="0.8", low=0.0, high=1.0)
    if start is None or end is None:
        return UNKNOWN_DRIFT
    if start > end:
        table.refuse("start", f"drift starts ({start:g}) after it ends ({end:g})", "make start at most end")
    elif start >= 1.0 or end <= 0.0:
        table.refuse("start", "drift leaves one of the two eras empty", "keep start below 1 and end above 0")
    return Drift(start, end)
