"""`[workload]`: where requests come from."""

from __future__ import annotations

from scenarios.definition import Arrivals, Drift, Part, Workload
from scenarios.profiles import PROFILES
from scenarios.toml.keys import ALL_PART_KEYS, DRIFT_KEYS, HOMES, MIX_KEYS, PROFILE_NAMES, WORKLOAD_KEYS
from scenarios.toml.parts import read_part
from scenarios.toml.people import read_clients, read_tenants
from scenarios.toml_table import Table, suggestion
from scenarios.workload import SAFETY_PROFILE

UNKNOWN_DRIFT = Drift(0.0, 1.0)  # stands in for one that could not be read: gates on drift are not a second mistake

Mix = tuple[tuple[str, float, Part], ...]


def read_workload(top: Table, arrivals: Arrivals | None) -> Workload | None:
    table = top.table("workload", required='profile = "support-chat"')
    if table is None:
        return None
    table.refuse_unknown((*WORKLOAD_KEYS, *(ALL_PART_KEYS if "mix" not in table else ())), HOMES)
    mix = _read_mix(table, arrivals)
    share = table.number("safety_share", low=0.0, high=1.0)
    drift_table = table.table("drift")
    drift = _read_drift(drift_table) if drift_table else UNKNOWN_DRIFT if "drift" in table else None
    if drift_table and mix and not {part.profile for _, weight, part in mix if weight > 0} & PROFILES.keys():
        what = "the profiles in use cannot drift"
        table.refuse("drift", what, f"add one of {', '.join(PROFILES)}, or remove drift")
    if drift_table and arrivals and not arrivals.duration_s:
        table.refuse("drift", "a closed loop has no duration to share out", "use open arrivals, or remove drift")
    tenants, clients = read_tenants(table), read_clients(table)
    if mix is None:
        return None
    parts = tuple((name, part) for name, _, part in mix if part != Part(name))
    shares = tuple((name, weight) for name, weight, _ in mix)
    return Workload(shares, drift, share or 0.0, parts, tenants, clients)


def _read_mix(table: Table, arrivals: Arrivals | None) -> Mix | None:
    if "profile" in table and "mix" in table:
        table.refuse("mix", "profile and mix are both given", "keep one of them")
        return None
    if "mix" not in table:
        profile = table.word("profile", PROFILE_NAMES, "profile", required='"support-chat"')
        part = None if profile is None else read_part(table, profile, arrivals)
        return None if part is None else ((part.profile, 1.0, part),)
    entries = table.table("mix")
    if entries is None:
        return None
    read = [(name, *_read_entry(entries, name, arrivals)) for name in entries.keys]
    mix = tuple((name, weight, part) for name, weight, part in read if weight is not None and part is not None)
    if len(mix) < len(read):
        return None
    if not any(weight > 0 for _, weight, _ in mix):
        table.refuse("mix", "mix has no profile with a weight above 0", 'write mix = { "support-chat" = 1.0 }')
        return None
    return mix


def _read_entry(entries: Table, name: str, arrivals: Arrivals | None) -> tuple[float | None, Part | None]:
    """`name = 2.0` for a profile as it comes, `name = { weight = 2.0, profile = ..., ... }` for one with settings."""
    table = entries.table(name) if entries.is_table(name) else None
    known = name in PROFILE_NAMES
    if table is None:
        if not known:
            entries.refuse(name, f"unknown profile {name[:60]!r}", suggestion(name, PROFILE_NAMES))
            return None, None
        weight = entries.number(name, low=0.0, high=1e6)
        return weight, None if weight is None else read_part(entries.nothing(name), name, arrivals)
    table.refuse_unknown((*MIX_KEYS, *ALL_PART_KEYS), HOMES)
    weight = table.number("weight", required="1.0", low=0.0, high=1e6)
    profile = table.word("profile", PROFILE_NAMES, "profile", required="" if known else '"synthetic"')
    if (known or name == SAFETY_PROFILE) and profile not in (None, name):
        table.refuse("profile", f"an entry called {name!r} cannot be another profile", "give it a name of its own")
        return None, None
    if profile is None and (not known or "profile" in table):
        return None, None
    return weight, read_part(table, profile or name, arrivals)


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
