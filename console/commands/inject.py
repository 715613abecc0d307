"""Bring a fault about in a run that goes on, or end all that are on. The command stays in the run's journal."""

from __future__ import annotations

import argparse
from pathlib import Path

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

EXAMPLES = """\
examples:
  seatrial inject last engine.kill
  seatrial inject last network.latency --for 10s --set delay=300ms --set jitter=50ms
  seatrial inject last http.error --share 0.5 --hits 20
  seatrial inject last --end-all

`seatrial faults` lists the kinds. Faults on the way (network, http, stream) need a run with such faults in its
scenario, or one that was started with `seatrial run ... --inject`; the console always starts them so.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    parser.add_argument("kind", metavar="KIND", nargs="?", help="a kind of fault (`seatrial faults`)")
    parser.add_argument("--for", dest="length", metavar="T", help="how long it lasts at most (default: 5s)")
    parser.add_argument("--share", metavar="SHARE", help="how many of the connections or requests are hit (default: 1)")
    parser.add_argument("--hits", type=options.whole(1, 1_000_000), metavar="N", help="it ends after so many")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the kind, such as delay=300ms"
    )
    parser.add_argument("--end-all", action="store_true", help="end every fault that is on, at once")


def handle(args: argparse.Namespace) -> int:
    from scenarios.faults.asked import END_FAULTS, FAULT
    from scenarios.journal import send_command
    from scenarios.runs import find_run, runs_dir

    argument = _argument(args)
    journal = find_run(runs_dir(args.runs_dir), args.run).absolute()
    run_id = _live(journal)
    if args.end_all:
        send_command(journal, END_FAULTS)
        what = "end every fault"
    else:
        send_command(journal, FAULT, argument)
        what = f"bring {args.kind} about"
    terminal.note(f"asked run {run_id} to {what}; `seatrial watch {run_id}` shows what comes of it")
    return Exit.GO


def _argument(args: argparse.Namespace) -> str:
    """The command's argument, checked before anything is written. Raises UsageError, AskedWrongly."""
    from scenarios.faults.asked import encode, read_asked

    if args.end_all:
        if args.kind or args.set or args.length or args.share or args.hits:
            raise UsageError("--end-all ends every fault and takes nothing else; leave the rest out")
        return ""
    if args.kind is None:
        raise UsageError("which kind of fault? `seatrial faults` lists them; --end-all ends those that are on")
    given = {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"--set takes NAME=VALUE, such as delay=300ms, not {text!r}")
        if name.strip() in given:
            raise UsageError(f"--set {name.strip()} is given twice; keep one of them")
        given[name.strip()] = value
    return encode(read_asked(args.kind, args.length or "", args.share or "", given, args.hits))


def _live(journal: Path) -> str:
    """The id of the run, which goes on. Raises UsageError where it does not."""
    from console.liveness import is_alive
    from scenarios.journal import JournalReader

    with JournalReader(journal) as reader:
        run = reader.run()
    if run.state == "done" or not is_alive(journal):
        raise UsageError(f"run {run.id} is over; a fault can only be brought about in a run that goes on")
    return run.id
