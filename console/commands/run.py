"""Run one scenario headless: progress on stderr, the verdict on stdout, the exit code is the verdict."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal
from console.exits import Exit

if TYPE_CHECKING:
    from console.progress import Progress
    from scenarios.result import ResultDocument
    from scenarios.runner import RunOptions
    from scenarios.tick import Event, Tick

    Trial = Callable[[Callable[[Tick], None], Callable[[Event], None], asyncio.Event], Awaitable[ResultDocument]]

EXAMPLES = """\
examples:
  seatrial run peak-traffic
  seatrial run my-trial.toml --seed 7 --duration 60s
  seatrial run peak-traffic --target http://localhost:8000/v1 --json
  seatrial run peak-traffic --junit junit.xml --markdown summary.md --plain
  seatrial run peak-traffic --model hf:ORG/REPO:model-q4.gguf
  seatrial run peak-traffic --redact
  seatrial run rough-seas --dry-run
  seatrial run rough-seas --blast-radius 0.5
  seatrial run peak-traffic --inject      and, meanwhile: seatrial inject last network.latency

exit codes: 0 GO, 1 NO-GO, 2 usage, 3 INCONCLUSIVE, 4 INVALID, 5 target, 130 interrupted (the journal is kept,
`seatrial resume last` goes on).
Keys come from $SEATRIAL_API_KEY or --api-key-file, never from an argument.
"""

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO", help="a catalogue name (`seatrial scenarios`) or a TOML file")
    options.add_trial_options(parser)
    options.add_output_options(parser)
    options.add_runs_dir(parser)
    group = parser.add_argument_group("faults")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be sent, which faults would come, and how they are undone; nothing is sent or started",
    )
    group.add_argument(
        "--inject",
        action="store_true",
        help="keep the fault proxy in the path, so that `seatrial inject` can bring network faults about",
    )
    parser.add_argument("--run-id", type=options.run_id, help=argparse.SUPPRESS)


def handle(args: argparse.Namespace) -> int:
    from console.output import check_outputs
    from console.prepare import find, make_options

    if args.dry_run:
        from console.rehearsal import rehearse

        return rehearse(args)
    check_outputs(junit=args.junit, markdown=args.markdown)
    trial = make_options(args, find(args, args.scenario), args.run_id)
    return run(trial, args)


def run(trial: RunOptions, args: argparse.Namespace) -> int:
    """Run it to its end, tell its verdict. `args` carries the output options."""
    from scenarios.runner import run_trial
    from scenarios.runs import journal_path

    where = trial.target or trial.launch or "the engine in here"
    terminal.note(f"run {trial.run_id}: {trial.scenario.name}, seed {trial.seed}, against {where}")
    return carry_out(journal_path(trial.runs_dir, trial.run_id), partial(run_trial, trial), args)


def carry_out(journal: Path, trial: Trial, args: argparse.Namespace) -> int:
    """See a trial to its end, its progress on stderr, and tell the verdict that is in its journal then."""
    from console import verdict
    from console.liveness import hold
    from console.progress import choose

    progress = choose(args.plain)
    try:
        with hold(journal.parent):
            document = asyncio.run(_until_done(trial, progress))
    except KeyboardInterrupt:
        progress.close()
        return _kept(journal, "stopped at once")
    finally:
        progress.close()
    material = verdict.load(journal)
    code = verdict.tell(material, journal, args)
    if document.run.state == "interrupted":
        return _kept(journal, "interrupted")
    return code


async def _until_done(trial: Trial, progress: Progress) -> ResultDocument:
    """The run, with the first Ctrl-C asking it to stop and the second one ending it at once."""
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def ask() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        progress.close()
        terminal.say("stopping: what is in flight is given up, the journal is kept; Ctrl-C again to stop at once")
        stop.set()

    for number in _STOPS:
        loop.add_signal_handler(number, ask)
    try:
        return await trial(progress.tick, progress.event, stop)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)


def _kept(journal: Path, how: str) -> Exit:
    from scenarios.errors import HarnessError
    from scenarios.runner.resume import read_interrupted

    if not journal.exists():
        terminal.say(f"{how} before anything was journalled; run it again")
        return Exit.INTERRUPTED
    run_id = journal.parent.name
    more = f"`seatrial show {run_id}` reads it"
    with suppress(HarnessError):  # a search, for one, cannot be resumed
        read_interrupted(journal)
        more += f", `seatrial resume {run_id}` goes on"
    terminal.say(f"{how}; the journal is kept in {journal}: {more}")
    return Exit.INTERRUPTED
