"""Bring a fault about in a run that goes on, or end all that are on. The command stays in the run's journal."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

if TYPE_CHECKING:
    from scenarios.journal import JournalReader
    from scenarios.tick import Event

EXAMPLES = """\
examples:
  seatrial inject last engine.kill
  seatrial inject last network.latency --for 10s --set delay=300ms --set jitter=50ms
  seatrial inject last http.error --share 0.5 --hits 20
  seatrial inject last --end-all

`seatrial faults` lists the kinds. Faults on the way (network, http, stream) need a run with such faults in its
scenario, or one that was started with `seatrial run ... --inject`; the console always starts them so.

It waits until the run has answered: 0 the fault is on (or all are being ended), 2 the run refused, 3 no answer within
ten seconds; the command stands in the journal all the same.
"""

PATIENCE_S = 10.0  # a guardian may have to be started first, and memory to be taken
_POLL_S = 0.1


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
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    from console.liveness import is_alive
    from scenarios.faults.asked import END_FAULTS, FAULT
    from scenarios.journal import JournalReader, send_command
    from scenarios.report.document import to_json
    from scenarios.runs import find_run, runs_dir

    argument = _argument(args)
    journal = find_run(runs_dir(args.runs_dir), args.run).absolute()
    run_id = _live(journal)
    with JournalReader(journal) as reader:
        after = max((number for number, _ in reader.events()), default=0)
        command = send_command(journal, END_FAULTS if args.end_all else FAULT, argument)

        def is_answer(event: Event) -> bool:
            if args.end_all:
                return event.kind == "operator.end_faults"
            return event.fault is not None and event.fault.command == command

        answer = _answer(reader, after, is_answer, lambda: is_alive(journal))
    if args.json:
        terminal.emit_json(to_json(_facts(run_id, command, answer)))
    if answer is None:
        what = "has ended without an answer" if not is_alive(journal) else f"has not answered in {PATIENCE_S:g} s"
        terminal.say(f"run {run_id} {what}; the command is in its journal, `seatrial watch {run_id}` shows what comes")
        return Exit.INCONCLUSIVE
    if answer.kind == "fault.refused":
        raise UsageError(f"run {run_id} refused: {answer.text}")
    said = answer.text if answer.fault is None else f"fault {answer.fault.number} is on: {answer.text}"
    terminal.note(f"run {run_id}: {said}; `seatrial watch {run_id}` shows what comes of it")
    return Exit.GO


def _answer(
    reader: JournalReader, after: int, is_answer: Callable[[Event], bool], alive: Callable[[], bool]
) -> Event | None:
    """The first event after that one which answers; None where the run ends or PATIENCE_S is over before."""
    ends_s = time.monotonic() + PATIENCE_S
    while True:
        over = time.monotonic() >= ends_s or not alive()
        for number, event in reader.events(after):
            after = number
            if is_answer(event):
                return event
        if over:
            return None
        time.sleep(_POLL_S)


def _facts(run_id: str, command: int, answer: Event | None) -> dict[str, object]:
    """What `--json` prints. answer: the kind of the event; null: there was none, nor any text, time or number."""
    return {
        "run": run_id,
        "command": command,
        "answer": answer and answer.kind,
        "text": answer and answer.text,
        "t_s": answer and answer.t_s,
        "fault": answer and answer.fault and answer.fault.number,
    }


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
