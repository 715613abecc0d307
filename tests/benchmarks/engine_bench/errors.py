"""What can keep a target from being measured.

BenchmarkError
├── Unmeasured     something it needs is not here; the row says what, and how to get it
└── ServerFailed   a server did not start, died or fell silent; carries the end of its log
"""

from __future__ import annotations


class BenchmarkError(Exception):
    """Base of this package's errors; its text is what the table's row says."""


class Unmeasured(BenchmarkError):
    """A part that this measurement needs is missing."""


class ServerFailed(BenchmarkError):
    """A server under measurement is of no use any more."""

    def __init__(self, name: str, what: str, log_tail: str = "") -> None:
        super().__init__(f"{name} {what}")
        self.log_tail = log_tail
