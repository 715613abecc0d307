"""The catalogue: list the scenarios, show what one will do, check a TOML file without running it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

if TYPE_CHECKING:
    from scenarios.definition import Scenario

EXAMPLES = """\
examples:
  seatrial scenarios
  seatrial scenarios show peak-traffic
  seatrial scenarios show my-trial.toml --seed 7 --rate 2
  seatrial scenarios check my-trial.toml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(json=False)
    parser.add_argument("--json", dest="json_list", action="store_true", help="the catalogue as one JSON document")
    raw = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="the catalogue (this is the default)")
    options.add_json(listing)
    shown = actions.add_parser(
        "show",
        help="what a scenario will do: requests, arrivals, faults, gates",
        epilog="example:\n  seatrial scenarios show peak-traffic",
        formatter_class=raw,
    )
    shown.add_argument("scenario", metavar="SCENARIO", help="a catalogue name or a TOML file")
    shown.add_argument("--seed", type=options.whole(0, 2**63 - 1), default=1, metavar="N", help="default: 1")
    shown.add_argument("--rate", type=options.rate, metavar="X", help="as for `seatrial run`")
    shown.add_argument("--duration", type=options.seconds, metavar="T", help="as for `seatrial run`")
    options.add_json(shown)
    checked = actions.add_parser(
        "check",
        help="every mistake of a TOML file, with its line; exit 2 when there is one",
        epilog="example:\n  seatrial scenarios check my-trial.toml --json",
        formatter_class=raw,
    )
    checked.add_argument("scenario", metavar="FILE", help="a TOML file, or a catalogue name")
    options.add_json(checked)


def handle(args: argparse.Namespace) -> int:
    args.action = args.action or "list"
    if args.json_list and args.action != "list":
        raise UsageError(f"--json goes after the action: seatrial scenarios {args.action} ... --json")
    args.json = args.json or args.json_list
    if args.action == "show":
        return _show(args)
    return _check(args) if args.action == "check" else _list(args)


def _list(args: argparse.Namespace) -> int:
    from scenarios import catalogue
    from scenarios.report.document import to_json
    from scenarios.report.layout import cells, pad, wrapped
    from scenarios.report.words import seconds
    from scenarios.scenario_file import find_scenario

    found = [find_scenario(name) for name in catalogue.names()]
    if args.json:
        rows = [{"name": s.name, "about": s.about, "duration_s": s.arrivals.duration_s} for s in found]
        terminal.emit_json(to_json({"scenarios": rows}))
        return Exit.GO
    lines = []
    longest = max((cells(s.name) for s in found), default=0)
    for scenario in found:
        lasts = seconds(scenario.arrivals.duration_s) if scenario.arrivals.duration_s else "-"
        head = f"{pad(scenario.name, longest)} {lasts:>7}"
        about = list(wrapped(scenario.about, terminal.width(sys.stdout), " " * (cells(head) + 2))) or [""]
        lines += [head + about[0][cells(head) :], *about[1:]]
    terminal.emit("".join(f"{line}\n" for line in lines))
    return Exit.GO


def _check(args: argparse.Namespace) -> int:
    from scenarios.errors import DefinitionErrors
    from scenarios.report.document import to_json
    from scenarios.sanitise import view
    from scenarios.scenario_file import find_scenario

    scenario: Scenario | None = None
    mistakes: list[dict[str, object]] = []
    lines: list[str] = []
    try:
        scenario = find_scenario(args.scenario)
    except DefinitionErrors as error:
        for mistake in error.mistakes:
            mistakes.append({"line": mistake.line, "what": mistake.what, "fix": mistake.fix})
            lines.append(view(str(mistake), 1000))
    if args.json:
        terminal.emit_json(to_json({"file": args.scenario, "ok": scenario is not None, "mistakes": mistakes}))
    else:
        terminal.emit("".join(f"{line}\n" for line in lines))
    if scenario is None:
        many = f"{len(mistakes)} mistakes" if len(mistakes) != 1 else "one mistake"
        terminal.say(f"{view(args.scenario, 200)} holds {many}; docs/scenarios.md explains every key")
        return Exit.USAGE
    if not args.json:
        terminal.emit(f"{view(args.scenario, 200)}: ok, `seatrial scenarios show` says what it will do\n")
    return Exit.GO


def _show(args: argparse.Namespace) -> int:
    from console.outline import outline, outline_text
    from scenarios.plan import make_plan
    from scenarios.report.document import to_json
    from scenarios.scenario_file import find_scenario, override

    scenario = override(find_scenario(args.scenario), rate=args.rate, duration_s=args.duration)
    plan = make_plan(scenario, args.seed)
    due_s = (plan.due_ns / 1e9).tolist()
    facts = outline(scenario, args.seed, plan.hash, len(plan))
    if args.json:
        terminal.emit_json(to_json(facts))
    else:
        terminal.emit(outline_text(facts, due_s, terminal.width(sys.stdout)))
    return Exit.GO
