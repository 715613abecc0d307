"""What each stream.* kind does with the events of one stream. Events are counted from 1, those of comments are not."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from scenarios.faults.proxy.answers.events import EVENT_LIMIT_BYTES, carries_data, cut_in_a_character, is_done


class Part(NamedTuple):
    """Content that goes out `wait_s` after the part before it; what lies behind a `cut` follows `then_s` later."""

    data: bytes
    wait_s: float = 0.0
    cut: int = 0
    then_s: float = 0.0


class Edit(Protocol):
    """One fault on the events of one stream."""

    @property
    def keeps_length(self) -> bool:
        """Whether as many bytes come out as went in."""

    @property
    def cuts(self) -> bool:
        """Whether it may end the stream early."""

    @property
    def over(self) -> bool:
        """Whether nothing more comes out, whatever goes in."""

    def take(self, event: bytes) -> list[Part]:
        """What goes out for a whole event."""

    def take_rest(self, rest: bytes) -> list[Part]:
        """What goes out for bytes that are no whole event, and before them; no event comes after this."""


class Onward:
    """All as it comes: the fault is over, or has nothing more to do."""

    keeps_length = True
    cuts = over = False

    def take(self, event: bytes) -> list[Part]:
        return [Part(event)]

    def take_rest(self, rest: bytes) -> list[Part]:
        return [Part(rest)]


class Truncate:
    """Nothing after so many events, and never the terminator."""

    keeps_length = False
    cuts = True

    def __init__(self, after: int) -> None:
        self._left = after

    @property
    def over(self) -> bool:
        return not self._left

    def take(self, event: bytes) -> list[Part]:
        if not carries_data(event):
            return [Part(event)] if self._left else []
        if not self._left or is_done(event):
            self._left = 0
            return []
        self._left -= 1
        return [Part(event)]

    def take_rest(self, rest: bytes) -> list[Part]:
        return [Part(rest)] if self._left and not is_done(rest) else []


class Duplicate(Onward):
    """One event twice."""

    keeps_length = False

    def __init__(self, at: int) -> None:
        self._at = at

    def take(self, event: bytes) -> list[Part]:
        self._at -= carries_data(event)
        if self._at or not carries_data(event):
            return [Part(event)]
        return [Part(event), Part(event)]


class Reorder(Onward):
    """One event after the one that follows it."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._held = b""

    def take(self, event: bytes) -> list[Part]:
        if not carries_data(event):
            return [Part(event)]
        self._at -= 1
        if self._at == 0:
            self._held = event
            return []
        if self._held:
            first, self._held = self._held, b""
            return [Part(event), Part(first)]
        return [Part(event)]

    def take_rest(self, rest: bytes) -> list[Part]:
        first, self._held = self._held, b""
        return [Part(first + rest)]


class Coalesce(Onward):
    """Several events at once; what is held is no larger than one event may be."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._held: list[bytes] = []
        self._count = self._size = 0

    def take(self, event: bytes) -> list[Part]:
        out = self._flush() if self._size + len(event) > EVENT_LIMIT_BYTES else []
        self._held.append(event)
        self._size += len(event)
        self._count += carries_data(event)
        return out + (self._flush() if self._count >= self._events else [])

    def take_rest(self, rest: bytes) -> list[Part]:
        return [*self._flush(), Part(rest)]

    def _flush(self) -> list[Part]:
        together = b"".join(self._held)
        self._held.clear()
        self._count = self._size = 0
        return [Part(together)]


class SplitCharacter(Onward):
    """Each event in two pieces."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def take(self, event: bytes) -> list[Part]:
        return [Part(event, cut=cut_in_a_character(event), then_s=self._delay_s)]


class Stall(Onward):
    """A pause before one event."""

    def __init__(self, after: int, delay_s: float) -> None:
        self._left = after
        self._delay_s = delay_s

    def take(self, event: bytes) -> list[Part]:
        if not carries_data(event) or self._left < 0:
            return [Part(event)]
        self._left -= 1
        return [Part(event, self._delay_s if self._left < 0 else 0.0)]
