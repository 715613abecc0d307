"""The kinds of faults: what each does, what it takes and needs, and whether it can be brought about here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

if TYPE_CHECKING:
    from scenarios.faults.kinds import FaultKind
    from scenarios.faults.possible import Setting

EXAMPLES = """\
examples:
  seatrial faults
  seatrial faults network.latency
  seatrial faults 'stream.*' --json
  seatrial faults --target https://llm.example.com

docs/faults.md says how faults are written into a scenario, and what a correct client and server do about each.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="*", help="a kind, a family (network), or a pattern ('stream.*')"
    )
    parser.add_argument(
        "--target", metavar="URL", help="what is possible against this one (default: the engine in here)"
    )
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    from console.here import setting
    from console.target import read_target
    from scenarios.faults.kinds import KINDS
    from scenarios.report.document import to_json
    from scenarios.toml_table import suggestion

    found = [kind for name, kind in KINDS.items() if fnmatchcase(name, args.name) or kind.family == args.name]
    if not found:
        raise UsageError(f"no kind of fault is called {args.name!r}; {suggestion(args.name, tuple(KINDS))}")
    here = setting(None if args.target is None else read_target(args.target))
    if args.json:
        terminal.emit_json(to_json({"faults": [_facts(kind, here) for kind in found]}))
        return Exit.GO
    width = terminal.width(sys.stdout)
    whole = len(found) == 1
    lines = [line for kind in found for line in (_whole(kind, here, width) if whole else _short(kind, here, width))]
    terminal.emit("".join(f"{line}\n" for line in lines))
    return Exit.GO


def _facts(kind: FaultKind, here: Setting) -> dict[str, Any]:
    from scenarios.faults.possible import why_not
    from scenarios.faults.words import harm_in_words, undone_in_words

    params = [
        {"name": p.name, "unit": p.unit.value, "default": p.default, "about": p.about}
        | ({"words": list(p.words)} if p.words else {"low": p.low, "high": p.high})
        for p in kind.params
    ]
    why = why_not(kind, here)
    return {
        "name": kind.name,
        "family": kind.family,
        "about": kind.about,
        "instant": kind.instant,
        "via": kind.via.value,
        "needs": [need.value for need in kind.needs],
        "possible": not why,
        "why_not": why,
        "params": params,
        "client": kind.client,
        "server": kind.server,
        "touches": harm_in_words(kind),
        "undone": undone_in_words(kind),
    }


def _short(kind: FaultKind, here: Setting, width: int) -> Iterator[str]:
    from scenarios.faults.possible import why_not
    from scenarios.report.layout import pad, wrapped

    why = why_not(kind, here)
    first, *others = wrapped(f"{kind.about} (not here: {why})" if why else kind.about, width, " " * 26)
    yield f"{'-' if why else '✓'} {pad(kind.name, 23)} {first[26:]}"
    yield from others


def _whole(kind: FaultKind, here: Setting, width: int) -> Iterator[str]:
    from scenarios.faults.possible import why_not
    from scenarios.faults.words import harm_in_words, undone_in_words, value_in_words
    from scenarios.report.layout import pad, wrapped

    yield kind.name
    yield from wrapped(kind.about, width, "  ")
    why = why_not(kind, here)
    parts = [
        ("Here", f"not possible: {why}" if why else "possible"),
        ("Lasts", "it is over as soon as it has struck" if kind.instant else "as long as `for` says, 5s by default"),
        ("Touches", harm_in_words(kind)),
        ("Undone", undone_in_words(kind)),
        ("Client", kind.client),
        ("Server", kind.server),
    ]
    for title, text in parts:
        first, *others = wrapped(text, width, " " * 10)
        yield pad(f"  {title}", 10) + first[10:]
        yield from others
    if kind.params:
        yield "  Parameters"
    for param in kind.params:
        words = f" ({', '.join(param.words)})" if param.words else ""
        text = f"{param.name} = {value_in_words(param, param.default)}: {param.about}{words}"
        yield from wrapped(text, width, "    ")
