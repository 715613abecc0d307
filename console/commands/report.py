"""Write a run's report again from its journal, byte for byte what the run wrote; the exit code is the verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

from console import options, terminal

EXAMPLES = """\
examples:
  seatrial report last
  seatrial report last --json > result.json
  seatrial report last --junit junit.xml --markdown summary.md

A run that died or still goes on is reported as far as its journal goes, and the report says so; such a run has no
verdict on the whole scenario: the exit code is 3 (INCONCLUSIVE), 130 when it was interrupted, 5 when its target failed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    options.add_json(parser)
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report, one test case for each gate")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    options.add_plain(parser)


def handle(args: argparse.Namespace) -> int:
    from console import verdict
    from console.output import check_outputs
    from scenarios.runs import find_run, runs_dir

    check_outputs(junit=args.junit, markdown=args.markdown)
    journal = find_run(runs_dir(args.runs_dir), args.run)
    material = verdict.load(journal)
    if material.incomplete:
        terminal.note(material.incomplete)
    return verdict.tell(material, journal, args)
