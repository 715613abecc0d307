"""`[keep]`: which texts the journal keeps."""

from __future__ import annotations

import re

from scenarios.definition import Keep
from scenarios.toml.keys import HOMES, KEEP_KEYS
from scenarios.toml_table import Table

_UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"(\d{1,6})\s?(KB|MB|GB)")


def read_keep(top: Table) -> Keep:
    table = top.table("keep")
    if table is None:
        return Keep()
    table.refuse_unknown(KEEP_KEYS, HOMES)
    default = Keep()
    prompts = table.flag("prompts")
    return Keep(_bytes(table), default.prompts if prompts is None else prompts)


def _bytes(table: Table) -> int:
    """The bound on answers: 0, or a size such as "64MB"."""
    default = Keep().answers_bytes
    if "answers" not in table:
        return default
    if table.raw("answers") == 0:
        return 0
    text = table.text("answers", longest=20)
    found = None if text is None else _SIZE.fullmatch(text)
    if text is not None and found is None:
        table.refuse("answers", f"{text!r} is no size", 'write a size such as "64MB", or 0 for none')
    return default if found is None else int(found[1]) * _UNITS[found[2]]
