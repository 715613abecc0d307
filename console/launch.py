"""How the console starts a run: `seatrial run` in a process of its own, which outlives the console."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from console.errors import LaunchError
from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.runs import journal_path, new_run_id
from scenarios.sanitise import view

Launch = Callable[[str], Path]
"""Starts the scenario of that name, returns its journal once it can be read. Raises LaunchError."""

LOG_NAME = "runner.log"
_PATIENCE_S = 60.0
_POLL_S = 0.05
_TAIL = 4000


def make_launcher(args: argparse.Namespace, directory: Path, target: str | None, model: Path | None) -> Launch:
    """A launcher for runs in `directory` with the trial options in `args`; `target` is confirmed, `model` is a file."""
    forwarded = ["--seed", str(args.seed), "--workers", str(args.workers), "--runs-dir", str(directory), "--plain"]
    forwarded += ["--inject"]  # whoever watches may want to disturb it
    forwarded += ["--preflight", str(args.preflight)]
    for option, value in (
        ("--target", target),
        ("--model", model),
        ("--launch", args.launch),
        ("--launch-timeout", args.launch_timeout),
        ("--target-pid", args.target_pid),
        ("--rate", args.rate),
        ("--duration", args.duration),
        ("--blast-radius", args.blast_radius),
        ("--proxy", args.proxy),
        ("--ca-file", args.ca_file),
        *(("--header", line) for line in args.header),
    ):
        forwarded += [] if value is None else [option, str(value)]
    forwarded += ["--insecure"] if args.insecure else []
    forwarded += ["--redact"] if args.redact else []
    forwarded += ["--yes"] if target is not None else []
    forwarded += ["--i-own-this-target"] if args.i_own_this_target else []

    def launch(name: str) -> Path:
        run_id = new_run_id()
        command = [sys.executable, "-m", "console", "run", *forwarded, "--run-id", run_id, "--", name]
        return start(command, directory, run_id)

    return launch


def start(command: list[str], directory: Path, run_id: str) -> Path:
    """Run `command` detached, its output in the run's folder; wait for the journal or the child's death.

    Ctrl-C while waiting ends the child too: it has a session of its own, and nobody would know that it goes on.
    """
    folder = directory / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / LOG_NAME
    with open(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )
    threading.Thread(target=child.wait, daemon=True, name=f"reaper of {run_id}").start()
    journal = journal_path(directory, run_id)
    give_up_at = time.monotonic() + _PATIENCE_S
    try:
        while not readable(journal):
            if child.poll() is not None and not readable(journal):
                raise LaunchError(_explain(log, f"the run ended with exit code {child.returncode} before it began"))
            if time.monotonic() > give_up_at:
                raise LaunchError(_explain(log, f"the run wrote no journal in {_PATIENCE_S:g} s; it may still come up"))
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        child.terminate()
        raise
    return journal


def readable(journal: Path) -> bool:
    """Whether the journal is there and says which run it is."""
    if not journal.exists():
        return False
    try:
        with JournalReader(journal) as reader:
            reader.run()
    except JournalError:
        return False
    return True


def _environment() -> dict[str, str]:
    """This process's environment; the child finds these packages and never a folder `console` it happens to be in."""
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def _explain(log: Path, what: str) -> str:
    tail = log.read_bytes()[-_TAIL:].decode(errors="replace").strip()
    lines = [view(line, 300).removeprefix("seatrial: ") for line in tail.splitlines()[-8:]]
    return f"{what}; its log is {log}" + (":\n" + "\n".join(lines) if lines else "")
