"""One client's connection and the one to the target that answers for it."""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

from scenarios.faults.proxy import stages
from scenarios.faults.proxy.framing import AnswerCounter, AnswerReader, RequestReader, only_interim
from scenarios.faults.proxy.lane import Lane
from scenarios.faults.proxy.loop import WRITE, Alarm, Loop
from scenarios.faults.proxy.meeting import Meeting
from scenarios.faults.proxy.side import Side
from scenarios.faults.proxy.stages import END, Answered
from scenarios.load.target import Target

_FAREWELL_NS = 2_000_000_000  # for the client to close its side of a connection that was closed in order
_INTERIM = b"HTTP/1.1 1"  # how an answer begins that another one follows


class Owner(Protocol):
    """Who holds the links and knows the faults."""

    of_content: bool
    """Whether requests are to be read, because a fault concerns them or their answers."""

    def opened(self, link: Link) -> None:
        """Both sides are connected; nothing has been carried yet."""

    def closed(self, link: Link) -> None:
        """It is over."""

    def decide(self, head: bytes) -> tuple[list[Answered], bool]:
        """Stages for the answer to the request of this head, and whether they are the answer, in the target's place."""


class Link:
    """Carries bytes both ways, in pieces as they come, and ends each side as the other one ended.

    The target is connected first, its TLS agreed on; only then the client is heard. A target that cannot be reached is
    an RST for the client.
    """

    def __init__(self, loop: Loop, owner: Owner, number: int, target: Target, client: socket.socket) -> None:
        self.number = number
        self.gone = False  # the target was reset, and the client is not told
        self.open = False
        self.asked_ns = 0  # when the last byte of a request went to the target
        self._loop = loop
        self._owner = owner
        self._to = target
        self._client = Side(loop, client, self._client_ready)
        self._target: Side | None = None
        self._meeting: Meeting | None = None
        self._alarm: Alarm | None = None
        self._asked = False  # anything at all
        self._between = True  # answer bytes, or none at all, have come since the last of a request
        self._newest = AnswerCounter()
        self._request: RequestReader | None = None
        self._swallowing = False
        self._pipelined = False  # the request came before the answer to the one ahead of it: no fault takes it
        self._answer: AnswerReader | None = None
        self._target_failed = False
        self._deaf = False  # what the client says goes nowhere any more
        self._left = False  # neither does what the target says, which is heard out

    def __repr__(self) -> str:
        return f"<Link {self.number} {'closed' if self._client.closed else 'open' if self.open else 'connecting'}>"

    # ---- beginning

    def begin(self, client_tls: ssl.SSLContext | None) -> None:
        """Connect to the target; then speak to the client, by TLS where a context for that is given."""
        self._meeting = Meeting(self._loop, self._to, self._client, client_tls, self._open, self.close)
        self._meeting.begin()

    def _open(self, target: Side) -> None:
        self.open = True
        self._target = target
        target.call = self._target_ready
        self._client.call = self._client_ready
        self.up = Lane(self._loop, self, self._client, target)
        self.down = Lane(self._loop, self, target, self._client)
        self._owner.opened(self)
        if not self._client.closed:
            for side, read in ((self._client, self._client_says), (target, self._target_says)):
                side.read_on(True)
                if side.tls is not None:  # the handshake may have read more than its own
                    self._loop.at(self._loop.now_ns, read)

    # ---- carrying

    def _client_ready(self, events: int) -> None:
        if events & WRITE:
            self.down.writable()
        if events & ~WRITE:
            self._client_says()

    def _target_ready(self, events: int) -> None:
        if events & WRITE:
            self.up.writable()
        if events & ~WRITE:
            self._target_says()

    def _client_says(self) -> None:
        if self._client.reading:
            self.up.readable()
        else:
            self._client.wait(0)  # an error, or both ways ended: it is met when there is something to do there

    def _target_says(self) -> None:
        assert self._target is not None
        if self._target.reading:
            self.down.readable()
        else:
            self._target.wait(0)

    def received(self, lane: Lane, data: bytes) -> bytes:
        if self._left:
            self._hear_out(lane, data)
            return b""
        if self._deaf:
            return b""
        if lane is self.down:
            return self._answered(data)
        return self._requested(data)

    def _answered(self, data: bytes) -> bytes:
        self._newest.count(data)
        self._between = not (data.startswith(_INTERIM) and only_interim(data))
        if self._answer is not None:
            self._answer.feed(data)
            if self._answer.over:
                self._answer = None
                self.down.carry(data, END)
                return b""
        return data

    def _requested(self, data: bytes) -> bytes:
        onward = b""
        while data and not self._deaf:
            if self._between and (self._request is None or self._request.over):
                self._begin_request()
            elif self._request is not None and self._request.over:
                self._request, self._pipelined = RequestReader(), True
            if self._request is None:
                return onward + data
            known = self._request.head
            some, data = self._request.feed(data)
            if known is None and self._request.head and not self._pipelined:
                self._decide(self._request.head)
            if not self._swallowing:
                onward += some
            elif self._request.over:
                self._request, self._swallowing, self._between = None, False, True
        return onward

    def _begin_request(self) -> None:
        self._asked = True
        self._between = self._swallowing = self._pipelined = False
        self._newest = AnswerCounter()
        self._answer = None
        self._request = RequestReader() if self._owner.of_content else None
        for stage in self.down.stages:
            if isinstance(stage, Answered):  # of the answer before, which the client takes for over
                stage.hurry(self._loop.now_ns)
        if self.down.stages:
            self.down.pump()

    def _decide(self, head: bytes) -> None:
        """What the faults make of this request and its answer."""
        assert self._request is not None
        chosen, answered = self._owner.decide(head)
        for stage in chosen:
            self.down.add(stage)
        if answered:
            self._swallowing = True
            self.down.pump()
        elif chosen:
            self._answer = AnswerReader(bare=head.startswith(b"HEAD "))

    def source_ended(self, lane: Lane) -> bytes:
        if self._deaf:
            self.close()
        elif self._left and lane is self.down:
            self._shut()
        if lane is self.up and self._request is not None and not self._swallowing:
            return self._request.end()
        return b""

    def written(self, lane: Lane) -> None:
        if lane is self.up:
            self.asked_ns = self._loop.now_ns
            if self.down.stages:
                for stage in self.down.stages:
                    stage.asked(self.asked_ns)
                self.down.pump()

    @property
    def loses_target(self) -> bool:
        """Whether the target was reset while the client is not told, or is about to be."""
        return self.gone or (self.open and self.down.will(stages.GONE))

    @property
    def open_bytes(self) -> int | None:
        """How much has come of the answer that is under way; None where no answer is due."""
        if not self._asked or self._swallowing:
            return None
        return None if self._newest.over else self._newest.bytes

    # ---- endings

    def finish(self, lane: Lane, close: str) -> None:
        match close:
            case stages.FIN if lane is self.down and self._target_failed:
                self.abort()
            case stages.FIN:
                self._pass_on_fin(lane)
            case stages.SHUT:
                self._shut()
            case stages.GONE:
                self._lose_target()
            case stages.LEFT:
                self._leave()
            case _ if self._left:
                pass  # the client has its answer, and either may go as it likes
            case _:
                self.abort()

    def _pass_on_fin(self, lane: Lane) -> None:
        assert self._target is not None
        (self._client if lane is self.down else self._target).end_writing()
        lane.dead = True
        other = self.up if lane is self.down else self.down
        if other.ended and other.dead:
            self.close()

    def sink_failed(self, lane: Lane) -> None:
        """A client that is gone is gone for the target too; a target that is gone may have said something before."""
        if lane is self.down or self.down.dead:  # dead: it has said all, and the client has it
            self.abort()
        else:
            self._target_failed = True

    def _shut(self) -> None:
        """Close both sides in order, as a fault: the target at once, the client with time to close its own."""
        assert self._target is not None
        self._target.close()
        self._deafen()
        self._client.end_writing()
        if self.up.ended:
            self.close()
        else:
            self._alarm = self._loop.at(self._loop.now_ns + _FAREWELL_NS, self.close)

    def _leave(self) -> None:
        """The answer is over for the client alone: close its side in order; the target sees nothing of it."""
        if self._answer is None or self._request is None or not self._request.over:
            self._shut()
            return
        self._left = True
        self.up.give_up()
        self.down.give_up()
        self._client.end_writing()

    def _hear_out(self, lane: Lane, data: bytes) -> None:
        """What comes when the client has been left: it matters only where the answer ends."""
        if lane is self.down and self._answer is not None:
            self._answer.feed(data)
            if self._answer.over:
                self._shut()

    def _lose_target(self) -> None:
        """Reset the target's side; the client hears nothing more, and what it says goes nowhere."""
        assert self._target is not None
        self.gone = True
        self._target.close(reset=True)
        self._deafen()

    def _deafen(self) -> None:
        self._deaf = True
        self.up.give_up()
        self.down.give_up()
        self.down.ended = True
        if not self.up.ended:
            self._client.read_on(True)

    def abort(self) -> None:
        """RST to both sides."""
        self.close(reset=True)

    def close(self, reset: bool = False) -> None:
        """Close both sides at once."""
        if self._client.closed:
            return
        self._client.close(reset)
        if self._target is not None:
            self._target.close(reset)
        elif self._meeting is not None:
            self._meeting.give_up()
        if self._alarm is not None:
            self._alarm.cancel()
        if self.open:
            self.up.give_up()
            self.down.give_up()
        self._owner.closed(self)
