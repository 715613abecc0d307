"""Follow a run while it goes on: in the console on a terminal, else as plain lines until its end.

The exit code is the run's verdict."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal

if TYPE_CHECKING:
    from scenarios.journal import JournalReader

EXAMPLES = """\
examples:
  seatrial watch last
  seatrial watch last --readonly
  seatrial watch last --plain

Ending `watch` never ends the run.
"""

_POLL_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    options.add_json(parser)
    options.add_plain(parser)
    parser.add_argument("--readonly", action="store_true", help="look only: the console sends the run no command")


def handle(args: argparse.Namespace) -> int:
    from scenarios.runs import find_run, runs_dir

    directory = runs_dir(args.runs_dir).absolute()
    journal = find_run(directory, args.run)
    screen = terminal.interactive(sys.stdin) and terminal.redraws(sys.stdout)
    if screen and not args.plain and not args.json:
        from console.commands.start import default_launcher, open_console

        return open_console(directory, journal, default_launcher(directory), readonly=args.readonly)
    return follow(journal, args)


def follow(journal: Path, args: argparse.Namespace) -> int:
    """Plain progress lines from the journal until the run is over, then its verdict."""
    from console import verdict
    from console.exits import exit_of
    from console.liveness import is_alive
    from scenarios.journal import JournalReader

    with JournalReader(journal) as reader:
        _follow(reader, lambda: is_alive(journal), args.plain)
    material = verdict.load(journal)
    if material.incomplete:
        terminal.note(material.incomplete)
    verdict.show(material, journal, args)
    return exit_of(material.document)


def _follow(reader: JournalReader, alive: Callable[[], bool], plain: bool) -> None:
    from console.progress import choose

    progress = choose(plain)
    seen_tick = seen_event = 0
    try:
        while True:
            over = reader.document() is not None or not alive()
            events, ticks = reader.events(seen_event), reader.ticks(seen_tick)
            for _, event in events:
                progress.event(event)
            for _, tick in ticks:
                progress.tick(tick)
            seen_event = events[-1][0] if events else seen_event
            seen_tick = ticks[-1][0] if ticks else seen_tick
            if over:
                return
            time.sleep(_POLL_S)
    finally:
        progress.close()
