"""The API process's messages to its supervisor: one JSON object a line on stdout."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

_DETAIL_CHARS = 600
"""With every character escaped a line stays below 4096 bytes, which a pipe takes whole or not at all."""
_HELD_LINES = 256


class Reporter:
    """Never blocks, and loses no event: what a full pipe does not take goes before the next message.

    standing: what each message carries beside its own, read when it is made. write: os.write or what a test gives.
    """

    def __init__(
        self,
        enabled: bool,
        standing: Callable[[], Mapping[str, object]],
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self._enabled = enabled
        self._standing = standing
        self._write = write
        self._held: deque[bytes] = deque(maxlen=_HELD_LINES)
        if enabled:
            # A supervisor that does not read for minutes must not block this process.
            os.set_blocking(1, False)

    def __call__(self, kind: str, detail: str) -> None:
        """Tell an event."""
        self._held.append(self.line(kind, detail))
        self._flush()

    def beat(self) -> None:
        """Tell how things stand, unless the supervisor is behind."""
        if not self._held:
            self._held.append(self.line("beat", ""))
            if not self._flush():
                self._held.clear()
        else:
            self._flush()

    def line(self, kind: str, detail: str) -> bytes:
        """A message as it is written."""
        return msgspec.json.encode({"kind": kind, "detail": detail[:_DETAIL_CHARS], **self._standing()}) + b"\n"

    def _flush(self) -> bool:
        """Write what is held, the oldest first; False when the pipe is full."""
        while self._held and self._enabled:
            try:
                self._write(1, self._held[0])
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._enabled = False
            self._held.popleft()
        self._held.clear()
        return True
