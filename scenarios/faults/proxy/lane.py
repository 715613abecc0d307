"""One direction of a connection: bytes from one socket to the other, through the stages of the faults in force."""

from __future__ import annotations

from typing import Protocol

from scenarios.faults.proxy.loop import Alarm, Loop
from scenarios.faults.proxy.side import BLOCKED, Side
from scenarios.faults.proxy.stages import END, FIN, NEVER_NS, RST, Answered, Stage, Timed

_READ_BYTES = 64 << 10
_STAGED_BYTES = 4 << 10  # of one read with stages: so many one-byte slices at most come of it
_WAITING_BYTES = 256 << 10  # with so many waiting nothing more is read


class Owner(Protocol):
    """Who is told what a lane comes to."""

    def received(self, lane: Lane, data: bytes) -> bytes:
        """Bytes came from the source; what of them to carry now."""

    def source_ended(self, lane: Lane) -> bytes:
        """Nothing more comes from the source; what to carry before its end."""

    def written(self, lane: Lane) -> None:
        """Bytes were handed to the sink."""

    def finish(self, lane: Lane, close: str) -> None:
        """All before the end of this kind has been written."""

    def sink_failed(self, lane: Lane) -> None:
        """The sink takes no more."""


class Lane:
    """Without stages a piece is written in the same turn in which it was read.

    Reading pauses while the sink has not taken all, or while the stages hold as much as they may.
    """

    __slots__ = ("_alarm", "_closing", "_loop", "_out", "_owner", "_sink", "_source", "dead", "ended", "stages")

    def __init__(self, loop: Loop, owner: Owner, source: Side, sink: Side) -> None:
        self._loop = loop
        self._owner = owner
        self._source = source
        self._sink = sink
        self.stages: list[Stage] = []
        self._out = bytearray()  # what the sink has not taken yet
        self._closing = ""  # to follow it
        self._alarm: Alarm | None = None
        self.ended = False  # the source gives nothing more
        self.dead = False  # the sink takes nothing more: what comes is dropped

    def will(self, close: str) -> bool:
        """Whether such an end waits for what the sink has not taken yet."""
        return self._closing == close

    # ---- in

    def readable(self) -> None:
        """Read once; of TLS all that it has decrypted."""
        source = self._source
        while True:
            try:
                data = source.socket.recv(_STAGED_BYTES if self.stages else _READ_BYTES)
            except BLOCKED:
                return
            except OSError:
                self._end(RST)
                return
            if not data:
                self._end(FIN)
                return
            data = self._owner.received(self, data)
            if data:
                self.carry(data)
            if source.tls is None or not source.reading or not source.tls.pending():
                return

    def _end(self, close: str) -> None:
        self.ended = True
        self._source.read_on(False)
        rest = self._owner.source_ended(self)
        self.carry(rest, close)

    def carry(self, data: bytes, close: str = "") -> None:
        """Take these bytes, and what follows them, through the stages to the sink."""
        if self.stages:
            self._onward(0, Timed(self._loop.now_ns, data, close))
            self.pump()
            return
        if data:
            self._write(data)
        if close and close != END:
            self._finish(close)

    # ---- through

    def add(self, stage: Stage) -> None:
        """Put a stage in its place, behind those of the same."""
        at = len(self.stages)
        while at and self.stages[at - 1].place > stage.place:
            at -= 1
        self.stages.insert(at, stage)

    def remove(self, stage: Stage) -> None:
        """Its fault is over: what it holds goes on at once."""
        at = self.stages.index(stage)
        del self.stages[at]
        for piece in stage.flush(self._loop.now_ns):
            self._onward(at, piece)

    def pump(self) -> None:
        """Take on what is due by now."""
        now_ns = self._loop.now_ns
        spent = False
        for at, stage in enumerate(tuple(self.stages)):
            if stage.due_ns <= now_ns:
                for piece in stage.give(now_ns):
                    self._onward(at + 1, piece)
            spent = spent or stage.spent
        if spent:
            for stage in [one for one in self.stages if one.spent]:
                self.stages.remove(stage)
                stage.let_go()
        self._wake_again()
        self._balance()

    def _onward(self, at: int, piece: Timed) -> None:
        if piece.close == END and not (at < len(self.stages) and isinstance(self.stages[at], Answered)):
            if not piece.data:
                return
            piece = piece._replace(close="")
        if at < len(self.stages):
            self.stages[at].take(piece)
            return
        if piece.data:
            self._write(piece.data)
        if piece.close:
            self._finish(piece.close)

    def _wake_again(self) -> None:
        due_ns = min([stage.due_ns for stage in self.stages], default=NEVER_NS)
        alarm = self._alarm
        if alarm is not None and alarm.call is not None:
            if alarm.when_ns == due_ns:
                return
            alarm.cancel()
        self._alarm = self._loop.at(due_ns, self.pump) if due_ns < NEVER_NS else None

    # ---- out

    def _write(self, data: bytes) -> None:
        if self.dead:
            return
        if self._out:
            self._out += data
            return
        try:
            sent = self._sink.socket.send(data)
        except BLOCKED:
            sent = 0
        except OSError:
            self._fail()
            return
        self._owner.written(self)
        if sent < len(data):
            self._out += data[sent:]
            self._sink.write_on(True)
            self._source.read_on(False)

    def writable(self) -> None:
        """The sink takes more."""
        while self._out and not self.dead:
            try:
                del self._out[: self._sink.socket.send(self._out)]
            except BLOCKED:
                return
            except OSError:
                self._fail()
                return
            self._owner.written(self)
        self._sink.write_on(False)
        if self._closing:
            self._finish(self._closing)
        self._balance()

    def _fail(self) -> None:
        self.give_up()
        self._owner.sink_failed(self)

    def _finish(self, close: str) -> None:
        if self._out:
            self._closing = self._closing or close
        elif not self.dead or close == RST:
            self._closing = ""
            self._owner.finish(self, close)

    def give_up(self) -> None:
        """From now on drop what comes, and what waits."""
        self.dead = True
        self._out.clear()
        for stage in self.stages:
            stage.let_go()
        self.stages.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    def _balance(self) -> None:
        """Read while there is room."""
        if self.ended or self._source.closed:
            return
        waiting = len(self._out) + sum(stage.waiting for stage in self.stages)
        if self._source.reading:
            if waiting >= _WAITING_BYTES:
                self._source.read_on(False)
        elif not self._out and waiting < _WAITING_BYTES // 2:
            self._source.read_on(True)
            tls = self._source.tls
            if tls is not None and tls.pending():  # read off the socket already: no event comes of it
                self._loop.at(self._loop.now_ns, self.readable)
