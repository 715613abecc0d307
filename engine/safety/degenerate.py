"""Answers that got stuck: one character, one phrase or one list of words over and over at the end."""

from __future__ import annotations

from collections.abc import Iterator
from operator import eq

from engine.safety.finding import Detector, Finding, visible

TAIL = 1000  # characters; a loop has to fill more than half of them, or of the text where it is shorter
LEAST = 60
REPEATS = 4
_BLOCK = 12
_WORD_WINDOWS = (40, 100, 200)
_MATCH = 0.85


def loops(text: str) -> Iterator[Finding]:
    """At most one finding. Looks at the last `TAIL` characters only, so the cost does not grow with the text."""
    end = len(text.rstrip())
    start = max(0, end - TAIL)
    tail = text[start:end]
    if len(tail) < LEAST:
        return
    found = _characters(tail) or _words(tail)
    if found is None:
        return
    first, last, lag, name = found
    cycle = visible(tail[first : first + min(lag, 40)])
    severity_high = lag == 1 or (last - first) >= 10 * lag
    yield Finding(
        "degenerate", "high" if severity_high else "medium", start + first, start + last, f"degenerate.{name}", cycle
    )


def _characters(tail: str) -> tuple[int, int, int, str] | None:
    """An exact cycle: the distance to the last earlier copy of a block is its length; it is then followed both ways."""
    size = len(tail)
    for end in (size, size - size // 16, size - size // 4):
        block = tail[end - _BLOCK : end]
        earlier = tail.rfind(block, 0, end - 1)
        if earlier < 0:
            continue
        lag = end - _BLOCK - earlier
        first = earlier
        while first > 0 and tail[first - 1] == tail[first - 1 + lag]:
            first -= 1
        last = end
        while last < size and tail[last] == tail[last - lag]:
            last += 1
        length = last - first
        if length >= max(LEAST, REPEATS * lag) and 2 * length >= size and tail[first:last].strip():
            return first, last, lag, "run" if lag == 1 else "cycle"
    return None


def _words(tail: str) -> tuple[int, int, int, str] | None:
    """A cycle of words with small changes in it, such as a counter: most words equal the one a fixed way before."""
    words = tail.split()
    for window in _WORD_WINDOWS:
        part = words[-window:]
        if len(part) < window and (window == _WORD_WINDOWS[0] or len(part) <= window // 2):
            return None
        for lag in range(1, len(part) // (REPEATS + 1) + 1):
            if sum(map(eq, part[lag:], part)) >= _MATCH * (len(part) - lag):
                length = sum(map(len, part)) + len(part) - 1
                if 2 * length >= len(tail):
                    cycle = sum(map(len, part[:lag])) + lag
                    return max(0, len(tail) - length), len(tail), cycle, "words"
    return None


def _find(text: str, planted: str) -> Iterator[Finding]:
    return loops(text)


DEGENERATE = Detector("degenerate", ("degenerate",), _find, answers_only=True)
