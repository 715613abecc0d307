"""`[keep]`: which texts the journal keeps."""

from __future__ import annotations

from scenarios.definition import Keep
from scenarios.toml.keys import HOMES, KEEP_KEYS
from scenarios.toml_table import Table


def read_keep(top: Table) -> Keep:
    table = top.table("keep")
    if table is None:
        return Keep()
    table.refuse_unknown(KEEP_KEYS, HOMES)
    answers, prompts = table.size("answers"), table.flag("prompts")
    default = Keep()
    return Keep(
        default.answers_bytes if answers is None else answers,
        default.prompts if prompts is None else prompts,
    )
