"""The console's errors.

ConsoleError
├── UsageError      bad input on the command line; exit 2
├── LaunchError     a run could not be started from the console; carries the end of its log
└── DownloadError   a model could not be fetched; exit 5
"""

from __future__ import annotations


class ConsoleError(Exception):
    """Base of every error that the console raises on purpose; its text is meant for the user."""


class UsageError(ConsoleError):
    """Something on the command line is wrong; the text says what and what to do."""


class LaunchError(ConsoleError):
    """A run that the console started died before it wrote its journal."""


class DownloadError(ConsoleError):
    """A model could not be fetched from the hub."""
