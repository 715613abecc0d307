"""The guardian: forks a holder for each order, passes on what is said, and undoes what a killed holder cannot.

It has one thread, so that it may fork, and lives until the runner's end of its socket or of the lifeline is closed and
every holder has ended. A holder that does not end in time is killed, and what it did is undone here. An order waits
while another has for itself what it needs too: a fault never takes what another one changed for what was there.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field

from scenarios.faults.holder.child import run, told
from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.messages import Begun, Channel, End, Over, Parts, Refused, Setup, ToUndo, Undo, Up
from scenarios.faults.holder.messages import Hold as HoldThis
from scenarios.faults.holder.subject import SubjectFacts
from scenarios.faults.holder.undos import undo_all
from scenarios.faults.injector import Order
from scenarios.faults.kinds import KINDS

ENDING_S = 1.0
"""A holder that was to end is killed after so long; with what is undone then it stays within two seconds."""


@dataclass(slots=True)
class _Held:
    """A fault that a holder holds, as far as it was heard from. by_s: it must have ended by then."""

    order: Order
    pid: int
    channel: Channel
    undos: list[Undo] = field(default_factory=list)
    listening: bool = True
    begun: bool = False
    last_word: bool = False
    by_s: float = float("inf")


class Guardian:
    """`runner`: the socket to the runner. lifeline: the read end of a pipe whose only write end the runner holds.

    tail: the write end of a pipe that nobody writes to: the runner knows by its end that all holders have ended.
    """

    def __init__(self, runner: Channel, lifeline: int, tail: int) -> None:
        self._runner = runner
        self._lifeline = lifeline
        self._tail = tail
        self._subject: SubjectFacts | None = None
        self._held: dict[int, _Held] = {}  # by the holder's pid
        self._waiting: list[HoldThis] = []
        self._ending = False
        self._signals, woken = socket.socketpair()
        self._signals.setblocking(False)
        woken.setblocking(False)
        self._woken = woken
        self._poll = select.poll()

    def run(self) -> None:
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for descriptor in (self._runner.fileno(), self._signals.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._lifeline, 0)
        self._runner.send(Up())
        while self._held or not self._ending:
            for descriptor, _ in self._poll.poll(self._timeout_ms()):
                self._attend(descriptor)
            self._kill_the_late()
            self._bury()

    def _timeout_ms(self) -> float | None:
        by_s = min((held.by_s for held in self._held.values()), default=float("inf"))
        return None if by_s == float("inf") else max(0.0, by_s - time.monotonic()) * 1000 + 1

    def _attend(self, descriptor: int) -> None:
        if descriptor == self._runner.fileno():
            if not self._ending:
                self._obey()
        elif descriptor == self._lifeline:
            self._end_all()
        elif descriptor == self._signals.fileno():
            if int(signal.SIGTERM) in self._signals.recv(4096):
                self._end_all()
        else:
            for held in self._held.values():
                if held.channel.fileno() == descriptor:
                    self._hear(held)

    def _obey(self) -> None:
        messages = self._runner.receive()
        if messages is None:
            self._end_all()
            return
        for message in messages:
            match message:
                case Setup(subject):
                    self._subject = subject
                case HoldThis():
                    self._waiting.append(message)
                    self._start()
                case End(number):
                    self._drop([one for one in self._waiting if one.order.number == number])
                    for held in self._held.values():
                        if held.order.number == number:
                            self._end(held)
                case Parts(parts):
                    self._waiting = [HoldThis(one.order, parts) for one in self._waiting]
                    for held in self._held.values():
                        held.channel.send(message)

    def _end(self, held: _Held) -> None:
        held.channel.send(End(held.order.number))
        held.by_s = min(held.by_s, time.monotonic() + ENDING_S)

    def _end_all(self) -> None:
        """The runner is gone, or has done: nothing more is heard from it."""
        if self._ending:
            return
        self._ending = True
        for descriptor in (self._runner.fileno(), self._lifeline):
            self._poll.unregister(descriptor)
        self._drop(list(self._waiting))
        for held in self._held.values():
            self._end(held)

    # ---- holders

    def _start(self) -> None:
        """A holder for each order whose turn it is."""
        for said in list(self._waiting):
            sole = KINDS[said.order.kind].sole
            if not sole or all(KINDS[held.order.kind].sole != sole for held in self._held.values()):
                self._waiting.remove(said)
                self._fork(said)

    def _drop(self, waiting: list[HoldThis]) -> None:
        """Their turn never comes."""
        for said in waiting:
            self._waiting.remove(said)
            self._runner.send(told(said.order.number, False, "", (), {}))

    def _fork(self, said: HoldThis) -> None:
        order, subject = said.order, self._subject
        assert subject is not None, "what is under trial is told before any order"
        try:
            ours, theirs = socket.socketpair()
            pid = os.fork()
        except OSError as error:
            self._runner.send(Refused(order.number, f"no process can be started for it ({error.strerror})"))
            return
        if pid == 0:
            self._be_a_holder(said, subject, theirs)
        theirs.close()
        self._held[pid] = _Held(order, pid, Channel(ours))
        self._poll.register(ours.fileno(), select.POLLIN)

    def _be_a_holder(self, said: HoldThis, subject: SubjectFacts, theirs: socket.socket) -> None:
        """Never returns. Of the guardian's descriptors it keeps none but those it lives by."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            close_all_but({0, 1, 2, theirs.fileno(), self._lifeline, self._tail})
            channel = Channel(theirs)
            channel.send(run(Hold(said, subject, channel, self._lifeline)))
        finally:
            os._exit(0)

    def _hear(self, held: _Held) -> None:
        """What the holder said; at its end nothing more is listened for."""
        messages = held.channel.receive()
        if messages is None:
            self._poll.unregister(held.channel.fileno())
            held.listening = False
            return
        for message in messages:
            match message:
                case ToUndo(_, undo):
                    held.undos.append(undo)
                    self._runner.send(message)
                case Begun():
                    held.begun = True
                    if held.order.for_s:
                        held.by_s = min(held.by_s, time.monotonic() + held.order.for_s + ENDING_S)
                    self._runner.send(message)
                case Over() | Refused():
                    held.last_word = True
                    self._runner.send(message)

    def _kill_the_late(self) -> None:
        now_s = time.monotonic()
        for held in self._held.values():
            if now_s >= held.by_s:
                os.kill(held.pid, signal.SIGKILL)
                held.by_s = float("inf")

    def _bury(self) -> None:
        """Take leave of holders that have ended; those that could not say so had no time to undo either."""
        for pid in list(self._held):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
            held = self._held.pop(pid)
            while held.listening and held.channel.has_more():
                self._hear(held)
            if held.listening:  # a child of its own may hold its socket open: there may be no end to read
                self._poll.unregister(held.channel.fileno())
            held.channel.sock.close()
            if not held.last_word:
                why = "its holder was killed"
                self._runner.send(told(held.order.number, held.begun, why, undo_all(held.undos), {}))
            self._start()


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor of this process but these."""
    listed = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(listed):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:  # the one that listed them
                continue
