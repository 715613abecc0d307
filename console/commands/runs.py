"""List the runs made so far, newest first."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from console import options, terminal
from console.exits import Exit

EXAMPLES = """\
examples:
  seatrial runs
  seatrial runs --json
  seatrial runs --runs-dir ./trials
"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    options.add_runs_dir(parser)
    options.add_plain(parser)


def handle(args: argparse.Namespace) -> int:
    from scenarios.report.document import to_json
    from scenarios.runs import list_runs, runs_dir

    directory = runs_dir(args.runs_dir)
    entries = list_runs(directory)
    rows = [_row(entry) for entry in entries]
    if args.json:
        terminal.emit_json(to_json({"runs": rows}))
        return Exit.GO
    if not rows:
        terminal.say(f"no runs in {directory}; `seatrial run SCENARIO` makes one")
        return Exit.GO
    terminal.emit(_table(rows, args.plain))
    return Exit.GO


def _row(entry: Any) -> dict[str, object]:
    from console.liveness import is_alive

    info, document = entry.info, entry.document
    state = info.state if info else "unreadable"
    if state == "running" and not is_alive(entry.path):
        state = "died"
    return {
        "id": entry.id,
        "scenario": info.scenario if info else None,
        "started_at": info.started_at if info else None,
        "verdict": document.verdict.value if document else None,
        "state": state,
        "target": info.target if info else None,
        "model": info.model if info else None,
        "seed": info.seed if info else None,
        "journal": str(entry.path),
        "problem": entry.problem or None,
    }


def _table(rows: list[dict[str, object]], plain: bool) -> str:
    from scenarios.report.layout import cells, cut, pad
    from scenarios.report.words import VERDICT_GLYPH, VERDICT_ROLE, one_line
    from scenarios.result import Verdict

    paint = terminal.paint if terminal.colourful(sys.stdout, plain) else terminal.no_paint
    width = terminal.width(sys.stdout) if terminal.interactive(sys.stdout) else 1000
    scenarios = max(8, *(cells(one_line(str(row["scenario"] or ""), 30)) for row in rows))
    ids = max(20, *(cells(str(row["id"])) for row in rows)) + 2
    head = f"{pad('verdict', 16)}{pad('run', ids)}{pad('started (UTC)', 18)}{pad('scenario', scenarios)}  target"
    lines = [cut(head, width)]
    for row in rows:
        if row["verdict"] and row["state"] != "interrupted":
            verdict = Verdict(str(row["verdict"]))
            role, word = VERDICT_ROLE[verdict], f"{VERDICT_GLYPH[verdict]} {verdict.value}"
        else:
            role, word = "dim", f"· {row['state']}"
        started = one_line(str(row["started_at"] or ""), 20)[:16].replace("T", " ")
        rest = f"{pad(str(row['id']), ids)}{pad(started, 18)}"
        if row["problem"]:
            rest += one_line(str(row["problem"]), 200)
        else:
            rest += f"{pad(one_line(str(row['scenario']), 30), scenarios)}  {one_line(str(row['target']), 100)}"
        lines.append(f"{paint(role, pad(word, 16))}{cut(rest, width - 16)}")
    return "\n".join(line.rstrip() for line in lines) + "\n"
