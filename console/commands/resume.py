"""Finish the plan of a run that was interrupted or died, against the same target; the exit code is the verdict.

What was under way when it ended counts as cancelled; the rest is sent with its spacing, as if time had stood still."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from console import options, terminal

EXAMPLES = """\
examples:
  seatrial resume last
  seatrial resume last --json
  seatrial resume 20261123-101530 --junit junit.xml

The engine is started again, or the same URL is asked; the key comes from $SEATRIAL_API_KEY or --api-key-file again.
Exit codes are those of `seatrial run`; 2 where there is nothing to resume, or the run is still at work.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    group = parser.add_argument_group("the target")
    group.add_argument("--api-key-file", type=Path, metavar="FILE", help="file with the target's key")
    group.add_argument(
        "--i-own-this-target", action="store_true", help="allow faults against a target other than this machine"
    )
    group.add_argument(
        "--yes", action="store_true", help="do not ask before sending load to a target other than this machine"
    )
    options.add_output_options(parser)


def handle(args: argparse.Namespace) -> int:
    from console.commands.run import carry_out
    from console.errors import UsageError
    from console.liveness import is_alive
    from console.output import check_outputs
    from console.prepare import demand_keys
    from console.target import confirm, key_env, load_key
    from scenarios.journal import FILE_NAME, JournalReader
    from scenarios.runner import read_interrupted, resume_trial
    from scenarios.runs import find_run, runs_dir

    check_outputs(junit=args.junit, markdown=args.markdown)
    journal = find_run(runs_dir(args.runs_dir), args.run).absolute()
    if journal.name != FILE_NAME:
        raise UsageError(f"{journal}: a run is resumed in its own folder, as {FILE_NAME}")
    with JournalReader(journal) as reader:
        run = reader.run()
    if run.state != "done" and is_alive(journal):
        raise UsageError(f"run {run.id} is still at work; `seatrial watch {run.id}` follows it")
    load_key(args.api_key_file)
    before = read_interrupted(journal)
    target, args.proxy = before.options.target, before.options.road.proxy
    elsewhere = target or before.options.launch
    if elsewhere:
        demand_keys(before.options.scenario)
    if target is not None:
        confirm(args, target, before.options.scenario)
    where = elsewhere or "the engine in here"
    terminal.note(f"run {run.id}: {run.scenario}, seed {run.seed}, goes on against {where}")
    again = partial(resume_trial, journal, key_env(elsewhere), own=args.i_own_this_target)
    return carry_out(journal, again, args)
