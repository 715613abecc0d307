"""`[workload.tenants]` and `[workload.clients]`: whose requests they are, and how their clients behave."""

from __future__ import annotations

import re

from scenarios.definition import Clients, Disconnect, Retrying, SlowReader, Tenant
from scenarios.toml.keys import CLIENT_KEYS, TENANT_KEYS
from scenarios.toml_table import Table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")  # a key pasted here by mistake mostly is not of this form


def read_tenants(workload: Table) -> tuple[Tenant, ...]:
    """`name = 2.0`, or `name = { weight = 2.0, key_env = "VARIABLE" }`: the key itself never stands in a file."""
    table = workload.table("tenants")
    if table is None:
        return ()
    noted, tenants = table.noted, []
    for name in table.keys:
        inner = table.table(name) if table.is_table(name) else None
        if not _NAME.fullmatch(name):
            table.refuse(name, f"{name[:70]!r} is no name of a tenant", "use up to 64 letters, digits, _, - and .")
            continue
        variable = f"SEATRIAL_API_KEY_{re.sub('[^A-Z0-9]', '_', name.upper())}"
        if inner is not None:
            inner.refuse_unknown(TENANT_KEYS, {})
            variable = inner.text("key_env", longest=128) or variable
            if not _VARIABLE.fullmatch(variable):
                what = "key_env is no name of an environment variable"  # not shown: it may be a key
                inner.refuse("key_env", what, "name the variable that holds the key, in capitals, never the key itself")
        weight = (inner or table).number("weight" if inner else name, required="1.0", low=0.0, high=1e6)
        tenants.append(Tenant(name, weight or 0.0, variable))
    if tenants and table.noted == noted and not any(tenant.weight for tenant in tenants):
        workload.refuse("tenants", "no tenant has a weight above 0", "raise one of them")
    return tuple(tenants)


def read_clients(workload: Table) -> Clients:
    table = workload.table("clients")
    if table is None:
        return Clients()
    table.refuse_unknown(tuple(CLIENT_KEYS), {})
    slow = _read_slow(table)
    leaves = _read_disconnect(table)
    together = (slow.share if slow else 0.0) + (leaves.share if leaves else 0.0)
    if together > 1.0:
        what = f"slow_reader and disconnect are {together:g} of all requests together"
        table.refuse("disconnect", what, "a client is one or the other: keep their sum at 1 or below")
    return Clients(slow, leaves, _read_retry(table))


def _open(table: Table, name: str) -> tuple[Table | None, float]:
    inner = table.table(name)
    if inner is None:
        return None, 0.0
    inner.refuse_unknown(CLIENT_KEYS[name], {})
    needed = "" if name == "retry" else "0.1"
    share = inner.number("share", required=needed, low=0.0, high=1.0)
    return inner, 1.0 if share is None else share


def _read_slow(table: Table) -> SlowReader | None:
    inner, share = _open(table, "slow_reader")
    if inner is None:
        return None
    speed = inner.number("bytes_per_s", required="200", low=1.0, high=1e9)
    return SlowReader(share, speed or 1.0)


def _read_disconnect(table: Table) -> Disconnect | None:
    inner, share = _open(table, "disconnect")
    if inner is None:
        return None
    events = inner.whole("after_events", required="3", low=1, high=1_000_000)
    return Disconnect(share, events or 1)


def _read_retry(table: Table) -> Retrying | None:
    inner, share = _open(table, "retry")
    if inner is None:
        return None
    attempts = inner.whole("attempts", required="3", low=2, high=100)
    wait_s = inner.duration("wait", low=0.0, high=3600.0)
    factor = inner.number("factor", low=1.0, high=10.0)
    align_s = inner.duration("align", low=0.0, high=3600.0)
    return Retrying(share, attempts or 2, wait_s or 0.0, 1.0 if factor is None else factor, align_s or 0.0)
