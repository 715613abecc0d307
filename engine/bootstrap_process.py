"""How the set-up runs commands and talks: every line into the log, nothing left running. Standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.bootstrap_plan import advice, printable

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / ".setup"
LOG = SETUP / "build.log"


class SetupFailed(Exception):
    """A step failed or something is missing; `code` is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def quiet(*command: str, needs: str = "") -> bool:
    """Whether a command ends well within 30 s and says `needs`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and needs in done.stdout


def logged(
    command: list[str], step: str, env: dict[str, str] | None = None, show: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Run a command, each line into the log and to `show`; its last 30 lines. SetupFailed with them when it fails."""
    tail: list[str] = []
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            for line in process.stdout or ():
                log.write(line)
                tail = [*tail[-29:], line.rstrip("\n")]
                show(line)
            code = process.wait()
        finally:
            stop(process)
    if code != 0:
        lines = "\n".join(f"  | {printable(line)}" for line in tail)
        raise SetupFailed(
            f"{step} failed (exit code {code}). Its last lines:\n{lines}\n{advice(chr(10).join(tail))}\n"
            f"The whole log: {LOG}. Then run the same command again; what is done is kept."
        )
    return tail


def stop(process: subprocess.Popen[str]) -> None:
    """End a command that still runs together with its compilers: it leads a process group of its own."""
    if process.poll() is not None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            break


@contextmanager
def locked() -> Iterator[None]:
    """One set-up at a time in this tree; a second one waits and then finds the work done."""
    import fcntl

    with (SETUP / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is running in this tree; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def duration(seconds: float) -> str:
    """Seconds in words."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def say(text: str) -> None:
    """One line of talk."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
