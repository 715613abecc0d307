"""The engine's log: a file that both processes append to, and whose end a failed start shows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

STDERR = Path("-")
"""In place of a path: this process's own standard error."""
_TAIL_BYTES = 8192
_TAIL_LINES = 20


class LogFile:
    """The given file, STDERR, or an unnamed temporary one that vanishes with its last descriptor. Raises OSError."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes]
        if path is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this object
        elif path == STDERR:
            # A descriptor of its own: the name /dev/stderr cannot be opened where it is a socket, as under systemd.
            self._file = os.fdopen(os.dup(2), "ab", buffering=0)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab" if path.is_char_device() or path.is_fifo() else "a+b")

    def fileno(self) -> int:
        """For a child process's stderr."""
        return self._file.fileno()

    def tail(self) -> str:
        """The last lines; "" for a terminal or a pipe, which cannot be read back."""
        try:
            # pread: the engine writes through the same open file, whose position must stay where it is.
            size = os.fstat(self._file.fileno()).st_size
            tail = os.pread(self._file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        except OSError:
            return ""
        return "\n".join(tail.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])

    def close(self) -> None:
        self._file.close()
