"""`seatrial run SCENARIO --dry-run`: what would be sent, what would be broken, and how it would be put right."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from console import terminal
from console.errors import UsageError
from console.exits import Exit


def rehearse(args: argparse.Namespace) -> int:
    """Tell it; nothing is sent, started or written.

    Raises:
        UsageError, DefinitionErrors: what would keep the run from starting.
    """
    from console.fault_facts import rehearsed_facts, rehearsed_lines, safety_lines
    from console.here import setting
    from console.hub import read_name, resolve_model
    from console.outline import outline, outline_text
    from console.prepare import demand_keys, find
    from console.target import (
        check_choice,
        check_launch,
        check_owner,
        check_target_pid,
        load_key,
        read_road,
        read_target,
    )
    from scenarios.faults.schedule import scheduled
    from scenarios.plan import make_plan
    from scenarios.report.document import to_json
    from scenarios.report.layout import cut

    for option, path in (("--junit", args.junit), ("--markdown", args.markdown)):
        if path is not None:
            raise UsageError(f"{option} needs a verdict, and --dry-run makes none; leave one of them out")
    check_choice(args)
    scenario = find(args, args.scenario)
    load_key(args.api_key_file)
    read_road(args)
    if args.model is not None:
        (read_name if args.model.startswith("hf:") else resolve_model)(args.model)  # nothing is fetched
    target = None if args.target is None else read_target(args.target)
    if args.launch is not None:
        check_launch(args.launch)
    if target is not None:
        check_owner(args, target, scenario)
        if args.target_pid is not None:
            check_target_pid(args.target_pid, target)
    if target is not None or args.launch is not None:
        demand_keys(scenario)
    plan = make_plan(scenario, args.seed)
    here = setting(target, launched=args.launch is not None, has_pid=args.target_pid is not None)
    faults = [rehearsed_facts(one, here) for one in scheduled(scenario.faults, args.seed, scenario.blast)]
    facts: dict[str, Any] = outline(scenario, args.seed, plan.hash, len(plan))
    facts |= {"faults": faults, "target": target or args.launch or "the engine in here", "dry_run": True}
    if args.json:
        terminal.emit_json(to_json(facts))
        return Exit.GO
    width = terminal.width(sys.stdout)
    text = outline_text({**facts, "faults": [], "abort": []}, (plan.due_ns / 1e9).tolist(), width)
    lines = ["", *rehearsed_lines(faults, width), *safety_lines(facts, width)] if faults or scenario.abort else []
    terminal.emit(text + "".join(f"{cut(line, width)}\n" for line in lines))
    terminal.note(f"a dry run: nothing was sent to {facts['target']}, nothing was started")
    return Exit.GO
