"""`[engine]`: how the embedded engine is set up."""

from __future__ import annotations

from scenarios.definition import EngineSettings
from scenarios.toml.keys import ENGINE_KEYS, HOMES
from scenarios.toml_table import Table


def read_engine(top: Table) -> EngineSettings:
    table = top.table("engine")
    if table is None:
        return EngineSettings()
    table.refuse_unknown(ENGINE_KEYS, HOMES)
    read = {
        "slots": table.whole("slots", low=1, high=256),
        "ctx": table.whole("ctx", low=64, high=1 << 20),
        "queue_limit": table.whole("queue_limit", low=0, high=100_000),
        "threads": table.whole("threads", low=0, high=1024),
    }
    return EngineSettings(**{key: value for key, value in read.items() if value is not None})
