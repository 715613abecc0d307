"""The bare `seatrial`: the console on a terminal, with `--start` a run in it from the first moment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal
from console.errors import UsageError
from console.exits import Exit

if TYPE_CHECKING:
    from console.launch import Launch


def handle(args: argparse.Namespace) -> int:
    trial = options.console_options(args)
    if trial.readonly and trial.start is not None:
        raise UsageError("--readonly starts nothing; leave out --start, or --readonly")
    screen = terminal.interactive(sys.stdin) and terminal.redraws(sys.stdout) and not trial.plain
    if not screen:
        return _headless(trial)
    from console.launch import make_launcher
    from console.prepare import find, settle, writable_runs_dir

    scenario = None if trial.start is None else find(trial, trial.start)
    target, _, model = settle(trial, scenario)
    directory = writable_runs_dir(trial.runs_dir)
    launch = make_launcher(trial, directory, target, model)
    journal = None if trial.start is None else launch(trial.start)
    return open_console(directory, journal, launch, readonly=trial.readonly)


def open_console(directory: Path, journal: Path | None, launch: Launch, *, readonly: bool) -> int:
    """The Textual console; the only place that loads it."""
    from console.tui.app import run_console

    code = run_console(runs_dir=directory, journal=journal, launch=launch, readonly=readonly)
    if journal is not None:
        _say_what_is_left(journal)
    return code


def _say_what_is_left(journal: Path) -> None:
    """The screen is gone; one line says what became of the run that it showed."""
    from console.liveness import is_alive
    from scenarios.journal import JournalReader

    with JournalReader(journal) as reader:
        document, run_id = reader.document(), reader.run().id
    if document is not None:
        terminal.note(f"run {run_id}: {document.verdict.value}; `seatrial show {run_id}` has the evidence")
    elif is_alive(journal):
        terminal.note(f"run {run_id} is still at work; `seatrial watch {run_id}` comes back to it")
    else:
        terminal.note(f"run {run_id} did not reach its end; `seatrial report {run_id}` shows what was committed")


def default_launcher(directory: Path) -> Launch:
    """A launcher with every trial option at its default, for a console that was opened on a run."""
    from console.launch import make_launcher

    parser = argparse.ArgumentParser()
    options.add_trial_options(parser)
    return make_launcher(parser.parse_args([]), directory, None, None)


def _headless(trial: argparse.Namespace) -> int:
    if trial.start is None:
        terminal.say("the console needs a terminal; without one use `seatrial run SCENARIO`")
        return Exit.USAGE
    from console.commands import run
    from console.prepare import find, make_options

    terminal.note(f"no terminal for the console, so {trial.start} runs headless, as `seatrial run` does")
    trial.json, trial.junit, trial.markdown, trial.inject = False, None, None, False
    return run.run(make_options(trial, find(trial, trial.start), None), trial)
