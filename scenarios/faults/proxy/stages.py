"""What a fault does to one direction of one connection: bytes go in at a time and come out later, cut or changed. Pure.

Stages lie one behind the other, in the order of their `place`; what one gives, the next one takes.
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import NamedTuple, Protocol

from scenarios.faults.proxy.transform import Piece, Transform

NEVER_NS = 1 << 62
_PIECE_BYTES = 100  # what the memory of a waiting piece takes beside its bytes
_PORTION_S = 0.01  # of a bandwidth: pieces of no more than so long
_PREFILL_NS = 20_000_000  # after this a request that went out is with the server, which is at work on it

# How a piece may end: the target's FIN or RST, the end of an answer of which a transform is told, and those of faults:
# both sides closed in order, the target's reset while the client hears nothing, or the client's closed in order while
# the target is heard out
FIN, RST, END, SHUT, GONE, LEFT = "fin", "rst", "end", "shut", "gone", "left"


class Timed(NamedTuple):
    """Bytes that come at a time of the monotonic clock, and what follows them."""

    at_ns: int
    data: bytes
    close: str = ""


class Grip(Protocol):
    """A fault's hold on one connection or request."""

    @property
    def number(self) -> int:
        """The fault's."""

    def hit(self, size: int) -> bool:
        """So many bytes are about to be held or changed. False: it has hit as many as it may, and leaves this one."""

    def let_go(self) -> None:
        """The connection or the answer is over."""


class Stage:
    """Passes everything on at once; kinds of faults differ in `_put` and `give`."""

    place = 0

    def __init__(self, grip: Grip) -> None:
        self._grip = grip
        self._queue: deque[Timed] = deque()
        self.waiting = 0  # bytes, with what their pieces take

    @property
    def number(self) -> int:
        """Of the fault that it is a part of."""
        return self._grip.number

    @property
    def due_ns(self) -> int:
        """When `give` has something next; NEVER_NS where it has not."""
        return self._queue[0].at_ns if self._queue else NEVER_NS

    @property
    def spent(self) -> bool:
        """It will not do anything more and can go, once it is empty."""
        return False

    def take(self, piece: Timed) -> None:
        """Take in what comes, in order of time."""
        if piece.data and not self._grip.hit(len(piece.data)):
            self._add(piece)
        else:
            self._put(piece)

    def give(self, now_ns: int) -> list[Timed]:
        """What is due by now, in order."""
        given: list[Timed] = []
        queue = self._queue
        while queue and queue[0].at_ns <= now_ns:
            piece = queue.popleft()
            self.waiting -= len(piece.data) + _PIECE_BYTES
            given.append(piece)
        return given

    def flush(self, now_ns: int) -> list[Timed]:
        """All that waits, at once: the fault is over."""
        given = [Timed(now_ns, piece.data, piece.close) for piece in self._queue]
        self._queue.clear()
        self.waiting = 0
        return given

    def asked(self, at_ns: int) -> None:
        """A request, or more of one, went to the target."""

    def let_go(self) -> None:
        """It is taken out because the connection or the answer is over."""
        self._grip.let_go()

    def _put(self, piece: Timed) -> None:
        self._add(piece)

    def _add(self, piece: Timed) -> None:
        self.waiting += len(piece.data) + _PIECE_BYTES
        self._queue.append(piece)

    def _last_ns(self) -> int:
        return self._queue[-1].at_ns if self._queue else 0


class Latency(Stage):
    """Each piece later by a delay and a jitter drawn for it, never before the one ahead of it."""

    place = 50

    def __init__(self, grip: Grip, delay_s: float, jitter_s: float, rng: random.Random) -> None:
        super().__init__(grip)
        self._delay_s, self._jitter_s, self._rng = delay_s, jitter_s, rng

    def _put(self, piece: Timed) -> None:
        off_s = self._rng.uniform(-self._jitter_s, self._jitter_s) if self._jitter_s else 0.0
        at_ns = piece.at_ns + max(0, round((self._delay_s + off_s) * 1e9))
        self._add(piece._replace(at_ns=max(at_ns, self._last_ns())))


class SlowStart(Stage):
    """The first byte of each answer later by a delay; the rest follows it at once."""

    place = 20

    def __init__(self, grip: Grip, delay_s: float, begun: bool) -> None:
        super().__init__(grip)
        self._delay_ns = round(delay_s * 1e9)
        self._begun = begun

    def asked(self, at_ns: int) -> None:
        self._begun = False

    def take(self, piece: Timed) -> None:
        wait_ns = 0
        if piece.data and not self._begun:
            self._begun = True
            wait_ns = self._delay_ns if self._grip.hit(len(piece.data)) else 0
        self._add(piece._replace(at_ns=max(piece.at_ns + wait_ns, self._last_ns())))


class Slice(Stage):
    """Slices of so many bytes with a pause between two of them."""

    place = 30

    def __init__(self, grip: Grip, size: int, delay_s: float) -> None:
        super().__init__(grip)
        self._size, self._delay_ns = size, round(delay_s * 1e9)
        self._next_ns = 0

    @property
    def due_ns(self) -> int:
        return max(self._queue[0].at_ns, self._next_ns) if self._queue else NEVER_NS

    def give(self, now_ns: int) -> list[Timed]:
        given: list[Timed] = []
        while (due_ns := self.due_ns) <= now_ns:
            piece = self._queue.popleft()
            cut, rest = piece.data[: self._size], piece.data[self._size :]
            if rest:
                self._queue.appendleft(piece._replace(data=rest))
                self.waiting -= len(cut)
                given.append(Timed(due_ns, cut))
            else:
                self.waiting -= len(cut) + _PIECE_BYTES
                given.append(Timed(due_ns, cut, piece.close))
            if cut:
                self._next_ns = due_ns + self._delay_ns
        return given


class Bandwidth(Stage):
    """No more than so many bytes a second: each byte comes when a line of that rate would have carried it."""

    place = 40

    def __init__(self, grip: Grip, rate: float) -> None:
        super().__init__(grip)
        self._rate = rate
        self._most = max(1, int(rate * _PORTION_S))
        self._free_ns = 0  # until then the line is busy with what it gave last

    def _portion(self) -> tuple[bytes, int]:
        """What goes next, and when its last byte is through."""
        piece = self._queue[0]
        data = piece.data[: self._most]
        return data, max(piece.at_ns, self._free_ns) + round(len(data) / self._rate * 1e9)

    @property
    def due_ns(self) -> int:
        return self._portion()[1] if self._queue else NEVER_NS

    def give(self, now_ns: int) -> list[Timed]:
        given: list[Timed] = []
        while self._queue:
            data, through_ns = self._portion()
            if through_ns > now_ns:
                break
            piece = self._queue.popleft()
            rest = piece.data[len(data) :]
            self._free_ns = through_ns
            if rest:
                self._queue.appendleft(piece._replace(data=rest))
                self.waiting -= len(data)
                given.append(Timed(through_ns, data))
            else:
                self.waiting -= len(data) + _PIECE_BYTES
                given.append(Timed(through_ns, data, piece.close))
        return given


class Corrupt(Stage):
    """Bytes flipped at distances drawn with the mean `per`."""

    place = 10

    def __init__(self, grip: Grip, per: float, rng: random.Random) -> None:
        super().__init__(grip)
        self._per, self._rng = per, rng
        self._skip = self._distance()

    def _distance(self) -> int:
        """How many bytes stay whole before the next one that does not: geometric, the gaps' mean being `per`."""
        return int(math.log(1.0 - self._rng.random()) / math.log1p(-1.0 / self._per)) if self._per > 1 else 0

    def take(self, piece: Timed) -> None:
        size = len(piece.data)
        if self._skip >= size or not self._grip.hit(0):
            self._skip -= min(self._skip, size)
            self._add(piece)
            return
        changed = bytearray(piece.data)
        at = self._skip
        flipped = 0
        while at < size:
            changed[at] ^= self._rng.randrange(1, 256)
            flipped += 1
            at += 1 + self._distance()
        self._skip = at - size
        self._grip.hit(flipped)
        self._add(piece._replace(data=bytes(changed)))


class Hold(Stage):
    """Nothing comes out until the fault is over."""

    place = 60
    due_ns = NEVER_NS

    def give(self, now_ns: int) -> list[Timed]:
        return []


class Cut(Stage):
    """An end to the connection once so many bytes of an answer are through.

    With `after` 0 it comes when the request has been with the server for a moment, or instead of the answer's first
    byte. open_bytes: of the answer under way, how many are through; None where no answer is due.
    """

    place = 70

    def __init__(self, grip: Grip, after: int, end: str, open_bytes: int | None, asked_ns: int) -> None:
        super().__init__(grip)
        self._after, self._end = after, end
        self._through = open_bytes or 0
        self._when_ns = NEVER_NS
        self._cut = False
        if open_bytes is not None and open_bytes >= after:
            self._when_ns = 0 if open_bytes else asked_ns + _PREFILL_NS

    @property
    def due_ns(self) -> int:
        return min(super().due_ns, self._when_ns)

    def asked(self, at_ns: int) -> None:
        self._through = 0
        self._when_ns = at_ns + _PREFILL_NS if not self._after else NEVER_NS

    def take(self, piece: Timed) -> None:
        if self._cut:
            return
        left = self._after - self._through
        self._through += len(piece.data)
        if piece.data and len(piece.data) >= left and self._strike(piece.at_ns, piece.data[: max(0, left)]):
            return
        self._add(piece)

    def give(self, now_ns: int) -> list[Timed]:
        if self._when_ns <= now_ns:
            self._when_ns = NEVER_NS
            self._strike(now_ns, b"")
        return super().give(now_ns)

    def _strike(self, at_ns: int, last: bytes) -> bool:
        self._when_ns = NEVER_NS
        self._cut = not self._cut and self._grip.hit(0)
        if self._cut:
            self._add(Timed(at_ns, last, self._end))
        return self._cut


class Answered(Stage):
    """A transform of one answer's content. It stays to the answer's end, so that what it has begun is well formed."""

    def __init__(self, grip: Grip, transform: Transform) -> None:
        super().__init__(grip)
        self._transform = transform
        self._over = self._hurried = False

    @property
    def spent(self) -> bool:
        return self._over and not self._queue

    def say(self, pieces: list[Piece], at_ns: int) -> None:
        """Give these in the place of an answer of the target."""
        self._over = True
        self._write_down(pieces, at_ns)

    def hurry(self, now_ns: int) -> None:
        """The fault is over: what the transform would have wait, waits no more, and it does nothing more."""
        self._hurried = True
        together = b""
        for piece in self.flush(now_ns):
            together += piece.data
            if piece.close:
                self._add(Timed(now_ns, together, piece.close))
                together = b""
        if together:
            self._add(Timed(now_ns, together))
        if not self._over:
            self._write_down(self._transform.relent(), now_ns)

    def take(self, piece: Timed) -> None:
        if self._over:
            self._add(piece)
            return
        pieces = self._transform.feed(piece.data) if piece.data else []
        if piece.close:
            self._over = True
            pieces = pieces + self._transform.end()
        last_ns = self._write_down(pieces, max(piece.at_ns, self._last_ns()))
        if piece.close:
            self._add(Timed(last_ns, b"", piece.close))

    def _write_down(self, pieces: list[Piece], at_ns: int) -> int:
        for one in pieces:
            at_ns += 0 if self._hurried else round(one.wait_s * 1e9)
            self._add(Timed(at_ns, one.data, SHUT if one.close == FIN else one.close))
        return at_ns
