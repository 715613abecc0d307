"""The verdict of one run with its evidence; a run that died is rebuilt from its journal."""

from __future__ import annotations

import argparse

from console import options
from console.exits import Exit

EXAMPLES = """\
examples:
  seatrial show last
  seatrial show 20261122-101530-9f3a --json

The exit code says whether the run could be read (0), not what its verdict is; `seatrial report` does that.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    options.add_json(parser)
    options.add_plain(parser)


def handle(args: argparse.Namespace) -> int:
    from console import verdict
    from scenarios.runs import find_run, runs_dir

    journal = find_run(runs_dir(args.runs_dir), args.run)
    verdict.show(verdict.load(journal), journal, args)
    return Exit.GO
