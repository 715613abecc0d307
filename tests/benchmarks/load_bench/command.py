"""The command line of a benchmark of several targets, and the loop that measures them."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.table import Document, Row, load, merged, not_run, place, render, save, write_into


def command(program: str, about: str | None, targets: Mapping[int, ModuleType]) -> int:
    """Measure the targets that the command line names and print their table; an exit code.

    Each is a module with TARGET (its number), TITLE, `measure(quick) -> list[Row]` and, where it has a table of its own
    to show afterwards, `table() -> str`.
    """
    parser = _parser(about, targets)
    args = parser.parse_args()
    numbers = sorted(targets) if args.all else args.only or []
    if not numbers and not args.json:
        parser.error("nothing to do: give --all, or --only 1,3, or --json FILE to print what it holds")
    try:
        document = load(args.json) if args.json else Document()
        for number in numbers:
            where = place()
            print(f"target {number}: {targets[number].TITLE}", file=sys.stderr, flush=True)
            rows = _rows(targets[number], args.quick)
            for row in rows:
                print(f"  {row.what}: {row.shown} ({row.asked}) {row.verdict}", file=sys.stderr, flush=True)
            document = merged(document, number, rows, where, getattr(targets[number], "table", str)())
            if args.json:
                save(args.json, document)
        table = render(document)
        print(table)
        if args.docs:
            write_into(args.docs, table)
    except ValueError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    return 1 if any(row.met is False for row in document.rows) else 0


def _rows(module: ModuleType, quick: bool) -> list[Row]:
    """A target that cannot be measured is a row that says why; the others go on."""
    try:
        rows: list[Row] = module.measure(quick)
        return rows
    except Unmeasured as error:
        return [not_run(module.TARGET, module.TITLE, str(error))]
    except Exception as error:  # noqa: BLE001  # one target's defect must not cost the others
        traceback.print_exc()
        return [not_run(module.TARGET, module.TITLE, f"the benchmark failed: {type(error).__name__}: {error}")]


def _parser(about: str | None, targets: Mapping[int, ModuleType]) -> argparse.ArgumentParser:
    def chosen(text: str) -> list[int]:
        numbers = [int(part) for part in text.split(",")]
        if unknown := sorted(set(numbers) - set(targets)):
            known = ", ".join(map(str, sorted(targets)))
            raise argparse.ArgumentTypeError(f"there is no target {unknown[0]}; there are {known}")
        return numbers

    listed = "\n".join(f"  {number:2}  {targets[number].TITLE}" for number in sorted(targets))
    parser = argparse.ArgumentParser(
        description=about, epilog=f"targets:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="measure every target")
    parser.add_argument("--only", type=chosen, metavar="N,...", help="measure these targets")
    parser.add_argument("--quick", action="store_true", help="short, and one round of each")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the rows here; targets measured before stay in it"
    )
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="put the table between the two marks of this document"
    )
    return parser
