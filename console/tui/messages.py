"""Every message of the console, and which may replace each other."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message

from console.tui.snapshot import Snapshot


class Frame(Message, bubble=False):
    """A newer state of the run; only the newest one that waits is of interest."""

    def __init__(self, snapshot: Snapshot, source: int) -> None:
        super().__init__()
        self.snapshot = snapshot
        self.source = source  # which attachment it came from: a late frame of an older one is dropped

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Frame) and message.source == self.source


class Launched(Message, bubble=False):
    """The runner of a scenario has been started; its journal is, or will be, at `journal`."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self.journal = journal


class LaunchFailed(Message, bubble=False):
    """The runner could not be started."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class Nothing(Message, bubble=False):
    """There is no run to attach to: time to pick a scenario."""


class Sent(Message, bubble=False):
    """A command has been written to the journal, or not: then `problem` says why."""

    def __init__(self, what: str, problem: str, then_exit: bool) -> None:
        super().__init__()
        self.what = what
        self.problem = problem
        self.then_exit = then_exit
