"""Hold run B against run A: each metric with its difference, an interval, the size of the effect; regressions first."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

EXAMPLES = """\
examples:
  seatrial compare 20261122-101530-9f3a last
  seatrial compare baseline/journal.sqlite last --markdown summary.md
  seatrial compare A B --json
  seatrial compare A B --tolerance 10

Runs of the same scenario and seed against the same model name are compared request by request, others as two samples.
A metric is worse when its whole interval says so and it changed by more than the tolerance.

exit codes: 0 nothing is surely worse, 1 something is, 2 usage or a run that cannot be compared.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    what = "a run's id, the start or end of one, `last`, or a journal file"
    parser.add_argument("a", metavar="A", help=f"the run to compare with: {what}")
    parser.add_argument("b", metavar="B", help="the run that is compared, likewise")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=5.0,
        metavar="PERCENT",
        help="so much is the same: per cent of a time, percentage points of a share (default: 5)",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    options.add_runs_dir(parser)
    options.add_json(parser)
    options.add_plain(parser)


def handle(args: argparse.Namespace) -> int:
    from console.output import check_outputs, write_atomically
    from scenarios.compare import compare, read_side
    from scenarios.journal import JournalReader
    from scenarios.report.comparison import render_comparison, render_comparison_markdown
    from scenarios.report.document import to_json
    from scenarios.runs import find_run, runs_dir

    if not (math.isfinite(args.tolerance) and 0 <= args.tolerance <= 100):
        raise UsageError(f"--tolerance {args.tolerance:g}: per cent from 0 to 100, such as 5")
    check_outputs(markdown=args.markdown)
    sides = []
    for name in (args.a, args.b):
        with JournalReader(find_run(runs_dir(args.runs_dir), name)) as reader:
            sides.append(read_side(reader))
    found = compare(sides[0], sides[1], args.tolerance / 100)
    if args.markdown is not None:
        write_atomically(args.markdown, render_comparison_markdown(found))
    if args.json:
        terminal.emit_json(to_json(found))
    else:
        paint = terminal.paint if terminal.colourful(sys.stdout, args.plain) else terminal.no_paint
        terminal.emit(render_comparison(found, terminal.width(sys.stdout), paint))
    return Exit.NO_GO if found.regressions else Exit.GO
