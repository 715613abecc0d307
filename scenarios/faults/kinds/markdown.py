"""Every kind of fault as Markdown, one table for each family. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.kind import FaultKind, Param
from scenarios.faults.words import value_in_words

_FAMILIES = {
    "network": "The way there and back",
    "http": "What answers say at their head",
    "stream": "What streams say",
    "engine": "The target's processes and files",
    "host": "The machine",
    "clients": "Other clients of the target",
}


def markdown() -> str:
    """The tables, as they stand in docs/faults.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for family, kinds in groupby(KINDS.values(), key=lambda kind: kind.family):
        yield f"### {_FAMILIES[family]}"
        yield ""
        yield "| kind | what it does | parameters | it needs | a correct client | a correct server |"
        yield "|---|---|---|---|---|---|"
        yield from map(_row, kinds)
        yield ""


def _row(kind: FaultKind) -> str:
    params = "<br>".join(map(_param, kind.params)) or "-"
    needs = "<br>".join(need.value for need in kind.needs) or "-"
    about = kind.about + (" (over at once)" if kind.instant else "")
    return f"| `{kind.name}` | {about} | {params} | {needs} | {kind.client} | {kind.server} |"


def _param(param: Param) -> str:
    words = f" ({', '.join(param.words)})" if param.words else ""
    return f"`{param.name}` = {value_in_words(param, param.default)}: {param.about}{words}"
