"""What a holder, which is one process for one fault, is given: its order, the subject, and ways to wait and to undo.

A kind is a function of a Hold. It checks what it needs (`raise FaultRefused(...)`: nothing was touched), says how each
thing is undone just before it does it (`hold.to_undo(...)`), says `hold.begun()` once the fault is in force, waits with
`hold.wait(...)` until that is true, and returns. All that was said is then undone, in the order in which it was said,
also when it raises; where the holder itself is killed the guardian does it. What vanishes with a process (its sockets,
memory and, by die_with_parent, its children) needs no undoing.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from scenarios.faults.holder.messages import Begun, Channel, End, Parts, ToUndo, Undo
from scenarios.faults.holder.messages import Hold as HoldThis
from scenarios.faults.holder.subject import SubjectFacts


class Hold:
    """One fault while it is held.

    facts: what it did, for Ended.facts; the kind fills it. parts: the target's processes by part, as last heard.
    """

    def __init__(self, said: HoldThis, subject: SubjectFacts, guardian: Channel, lifeline: int) -> None:
        self.order = said.order
        self.subject = subject
        self.parts = said.parts
        self.facts: dict[str, float | str] = {}
        self.why = ""
        self.undos: list[Undo] = []
        self.begun_s: float | None = None
        self._guardian = guardian
        self._lifeline = lifeline
        self._poll = select.poll()
        self._poll.register(guardian.fileno(), select.POLLIN)
        self._poll.register(lifeline, 0)  # closed is always told

    def number(self, name: str) -> float:
        """A parameter that is no word."""
        return float(self.order.params[name])

    def word(self, name: str) -> str:
        """A parameter that is a word."""
        return str(self.order.params[name])

    def to_undo(self, undo: Undo) -> None:
        """Say how something is undone; call it before doing it. To undo what was never done must harm nothing."""
        self.undos.append(undo)
        self._guardian.send(ToUndo(self.order.number, undo))

    def begun(self) -> None:
        """The fault is in force; its time runs from here."""
        self.begun_s = time.monotonic()
        self._guardian.send(Begun(self.order.number))

    @property
    def watched(self) -> tuple[int, int]:
        """Descriptors that have something to read, or are closed, where `wait` would return: for other loops."""
        return self._guardian.fileno(), self._lifeline

    @property
    def left_s(self) -> float:
        """Until its time is over; infinite before it has begun and where it has no such time."""
        if self.begun_s is None or not self.order.for_s:
            return float("inf")
        return max(0.0, self.begun_s + self.order.for_s - time.monotonic())

    def wait(self, for_s: float = float("inf"), until: Callable[[], bool] | None = None, every_s: float = 0.02) -> bool:
        """Wait so long, or until the fault is to end; returns whether it is to end.

        until: asked again and again; true ends the wait as well.
        """
        by_s = time.monotonic() + for_s
        while not self._over():
            left_s = min(by_s - time.monotonic(), self.left_s)
            if left_s <= 0 or (until is not None and until()):
                return self._over()
            pause_s = left_s if until is None else min(left_s, every_s)
            self._listen(min(pause_s, 3600.0))
        return True

    def _over(self) -> bool:
        self._listen(0.0)
        if not self.why and self.left_s <= 0:
            self.why = "its time was over"
        return bool(self.why)

    def _listen(self, for_s: float) -> None:
        for descriptor, _ in self._poll.poll(for_s * 1000):
            if descriptor == self._lifeline:
                self.why = "the runner is gone"
                return
            messages = self._guardian.receive()
            if messages is None:
                self.why = "the guardian is gone"
                return
            for message in messages:
                if isinstance(message, Parts):
                    self.parts = message.parts
                elif isinstance(message, End):
                    self.why = "it was ended"
