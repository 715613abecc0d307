"""The harness's errors.

HarnessError
├── DefinitionErrors     a scenario file is wrong: every mistake with its line and its fix
│   ├── TraceError       a trace file is: the first broken rows
│   └── DatasetError     a dataset file is
├── UnknownScenario      no catalogue entry and no file of that name
├── TargetError          the target cannot be started, reached or used as asked
├── JournalError         a journal is missing, damaged or of another version
│   └── JournalFull      its disk takes no more; what was committed can be read
├── MiscountError        plan and observations do not match one to one: a bug of the harness
├── RunNotFound          no run of that id in the runs directory
├── NotResumable         the run is complete, or there is nothing to go on from
└── StoppedEarly         the operator ended a run before there was anything to judge
"""

from __future__ import annotations

from dataclasses import dataclass


class HarnessError(Exception):
    """Base of every error that the harness raises on purpose; its text is meant for the user."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a scenario file: where it is (1-based line, 0 when unknown), what it is, how to mend it."""

    file: str
    line: int
    what: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what}" + (f"; {self.fix}" if self.fix else "")


class DefinitionErrors(HarnessError):
    """A scenario definition holds mistakes, all of them listed in `mistakes`, in file order."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class TraceError(DefinitionErrors):
    """A trace cannot be read: it is missing, of no known format, or holds broken rows (the first few are listed)."""


class DatasetError(DefinitionErrors):
    """A dataset cannot be read: it is missing, of no known format, or a row has not the fields that it needs."""


class UnknownScenario(HarnessError):
    """Neither a catalogue name nor a readable TOML file."""


class TargetError(HarnessError):
    """The target could not be started, reached or used as asked."""


class JournalError(HarnessError):
    """A journal is missing, damaged or of a version that this build cannot read."""


class JournalFull(JournalError):
    """The disk takes no more of a journal. What was committed can be read, the rest is still in memory."""


class MiscountError(HarnessError):
    """Plan and observations do not match one to one: a bug of the harness, never a fact about the target."""


class RunNotFound(HarnessError):
    """No run of that id in the runs directory."""


class NotResumable(HarnessError):
    """A run that cannot go on: it is complete, its plan was never written, or it would no longer be the same run."""


class StoppedEarly(HarnessError):
    """The operator ended a run before its plan was written, or before a resumed one went on: nothing to judge."""
