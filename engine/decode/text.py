"""From token bytes to text that may be shown: whole UTF-8 characters only, and never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextAssembler:
    """Turns the pieces of one answer into text, holding back what is not yet certain.

    >>> text = TextAssembler(["STOP"])
    >>> text.push(b"a caf\\xc3"), text.push(b"\\xa9 S"), text.push(b"TO"), text.push(b"P more")
    ('a caf', 'é ', '', '')
    >>> text.stopped
    True
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False
        """A stop string was met; it and what follows are dropped."""

    def push(self, piece: bytes, *, final: bool = False) -> str:
        """Add bytes; return the text that is now certain. With `final`, everything held back that is no stop string."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(piece, final)
        if not self._stops:
            return text
        cuts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if cuts:
            self.stopped = True
            self._held = ""
            return text[: min(cuts)]
        keep = 0 if final else max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
