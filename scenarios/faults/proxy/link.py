"""One connection through the proxy: two ways, and the faults that are in force on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from scenarios.faults.proxy.answering import Answering
from scenarios.faults.proxy.endpoint import Endpoint
from scenarios.faults.proxy.force import Force
from scenarios.faults.proxy.requests import RequestWatch
from scenarios.faults.proxy.shaping import NS, Parcel, shaper_of
from scenarios.faults.proxy.transform import Piece
from scenarios.faults.proxy.way import Way

PREFILL_NS = 30_000_000  # after a request has gone through, the target gets so long to take it up
_CUTS = ("network.reset", "network.close")
_SILENT = "network.half_open"


class Link:
    """Reads, shapes, writes; the loop tells it what is ready and when a time has come (`at` asks for that).

    `number` counts connections from 1. `close` is called once, when nothing is left of it.
    """

    def __init__(
        self,
        number: int,
        client: Endpoint,
        target: Endpoint,
        at: Callable[[int, Link, Callable[[], None]], None],
        close: Callable[[Link], None],
    ) -> None:
        self.number = number
        self.client, self.target = client, target
        self.up, self.down = Way(client, target), Way(target, client)
        self.connecting = True
        self.closed = False
        self.silent = False  # the target's side is gone, and the client is not told
        self._at, self._close = at, close
        self._opened_ns = time.monotonic_ns()
        self._requests = RequestWatch()
        self._request = 0  # which one, from 1
        self._awaits = False  # a request has gone through and no byte of its answer has come
        self._passed = 0  # bytes of the answer in hand
        self._forces: tuple[Force, ...] = ()
        self._met: set[int] = set()  # numbers of the faults of the network that hit it
        self._answering = Answering()
        self._answered_ns = 0  # when the last piece of an answer goes out, as far as its pauses say

    # -- faults

    def apply(self, forces: Sequence[Force]) -> None:
        """From now on these are in force; what waited for one that is not any more goes at once."""
        mine = tuple(force for force in forces if not _of_network(force) or force.chooses(self.number))
        begun = [force for force in mine if force not in self._forces]
        for force in self._forces:
            if force not in mine:
                for way in (self.up, self.down):
                    way.shapers.pop(force.order.number, None)
                    way.release()
        self._forces = mine
        self._answered_ns = self._answered_ns if any(not _of_network(force) for force in mine) else 0
        for force in begun:
            for way in (self.up, self.down):
                shaper = shaper_of(force.order, way is self.up, force.dice(self.number))
                if shaper is not None:
                    way.shapers[force.order.number] = shaper
        if self._awaits and any(force.order.kind in (*_CUTS, _SILENT) for force in begun):
            self._at(time.monotonic_ns() + PREFILL_NS, self, self._strike)

    @property
    def reads(self) -> bool:
        """Whether anything is to be read: nothing is in a black hole."""
        return not any(force.order.kind == "network.blackhole" for force in self._forces)

    def _mine(self, *kinds: str) -> Force | None:
        """The first fault of these kinds that may still hit."""
        found = (f for f in self._forces if f.order.kind in kinds and (not f.spent or f.order.number in self._met))
        return next(found, None)

    def _meet(self, force: Force, data: bytes = b"") -> None:
        """It hits this connection; counted once."""
        force.bytes += len(data)
        if force.order.number not in self._met:
            self._met.add(force.order.number)
            force.hit()

    # -- what comes

    def from_client(self, data: bytes) -> None:
        """Bytes of requests; b"" where the client has closed its side. Raises OSError."""
        now_ns = time.monotonic_ns()
        if not self._forces and not self._answering.busy:
            self._watch(data)
            if self.connecting or not self.up.pass_on(data):
                self.up.put((Parcel(now_ns, data, "" if data else "fin"),))
            return
        if data:
            data = self._intercept(data, now_ns)
            if not data:
                return
        for force in self._forces:
            if _of_network(force):
                self._meet(force, data)
        due_ns = now_ns
        if (slow := self._mine("network.slow_connect")) is not None:
            due_ns = max(now_ns, self._opened_ns + round(float(slow.order.params["delay"]) * NS))
        self.up.put((Parcel(due_ns, data, "" if data else "fin"),))
        if self._watch(data) and self._mine(*_CUTS, _SILENT) is not None:
            self._at(due_ns + PREFILL_NS, self, self._strike)

    def _watch(self, data: bytes) -> bool:
        """Keep up with where requests end; whether one is complete with these bytes."""
        if data and self._requests.feed(data):
            self._awaits, self._passed = True, 0
            return True
        return False

    def _intercept(self, data: bytes, now_ns: int) -> bytes:
        """What of a request goes on to the target while answers are tampered with."""
        begins = self._requests.between
        self._request += begins
        drawn = [
            force
            for force in self._forces
            if not _of_network(force) and not force.spent and force.chooses(self.number, self._request)
        ]
        if not drawn and not self._answering.busy:
            return data
        data, pieces = self._answering.request(data, begins, drawn)
        if pieces:
            self.down.put(self._timed(pieces, now_ns))
            self.flush()
        return data

    def from_target(self, data: bytes) -> None:
        """Bytes of answers; b"" where the target has closed its side. Raises OSError."""
        if not self._forces and not self._answering.busy:
            self._awaits = False
            if not self.down.pass_on(data):
                self.down.put((Parcel(time.monotonic_ns(), data, "" if data else "fin"),))
            return
        now_ns = time.monotonic_ns()
        if self._awaits and (cut := self._mine(*_CUTS)) is not None and not cut.order.params["after"]:
            self._strike()
            return
        first, self._awaits = self._awaits, False
        pieces = self._answering.answer(data) if data else self._answering.finish()
        if first and (slow := self._mine("network.slow_start")) is not None:
            now_ns += round(float(slow.order.params["delay"]) * NS)
        out = self._timed(pieces, now_ns)
        if not data:
            out.append(Parcel(now_ns, b"", "fin"))
        for force in self._forces:
            if _of_network(force):
                self._meet(force, data)
        if (cut := self._mine(*_CUTS)) is not None:
            out = self._cut(out, cut)
        self.down.put(out)

    def _timed(self, pieces: Sequence[Piece], now_ns: int) -> list[Parcel]:
        """Pieces with the moments at which they are written, each pausing after the one before it, of whatever read.

        No pause outlasts the faults of answers.
        """
        if all(_of_network(force) for force in self._forces):
            return [Parcel(now_ns, data, close) for _, data, close in pieces]
        due_ns = max(now_ns, self._answered_ns)
        out: list[Parcel] = []
        for wait_s, data, close in pieces:
            due_ns += round(wait_s * NS)
            out.append(Parcel(due_ns, data, close))
        self._answered_ns = due_ns
        return out

    def _cut(self, out: list[Parcel], cut: Force) -> list[Parcel]:
        """The parcels up to where the connection breaks, if that is here."""
        left = int(cut.order.params["after"]) - self._passed
        kept: list[Parcel] = []
        for parcel in out:
            self._passed += len(parcel.data)
            if len(parcel.data) > left:
                close = "rst" if cut.order.kind == "network.reset" else "fin"
                return [*kept, Parcel(parcel.due_ns, parcel.data[: max(left, 0)], close)]
            left -= len(parcel.data)
            kept.append(parcel)
        return kept

    def _strike(self) -> None:
        """The connection breaks while an answer is awaited, if it still is."""
        if self.closed or not self._awaits:
            return
        force = self._mine(*_CUTS, _SILENT)
        if force is None or force.order.params.get("after", 0):
            return
        self._awaits = False
        self._meet(force)
        if force.order.kind == _SILENT:
            self.silent = True
            self._close(self)
            self.target.close(reset=True)
            return
        self.end("rst" if force.order.kind == "network.reset" else "fin")

    # -- what goes

    def flush(self) -> None:
        """Write what is due, ask to be called when more is; close what is over. Raises OSError."""
        now_ns = time.monotonic_ns()
        for way in (self.up, self.down):
            if way is self.up and self.connecting:
                continue
            next_ns = way.flush(now_ns)
            if next_ns is not None:
                self._at(next_ns, self, self.flush)
        cut = self.down.over
        if cut == "rst" or (cut and self._mine("network.close") is not None):
            self.end(cut)
        elif self.up.over == "fin" and self.down.over == "fin":
            self.end("fin")
        else:
            for way in (self.up, self.down):
                if way.over == "fin":
                    way.sink.shut()

    def broken(self, by_target: bool) -> None:
        """One side is gone, by RST: the other one is to feel the same once what came before is written."""
        if by_target and not self.down.empty and not self.closed:
            self.down.put((Parcel(time.monotonic_ns(), b"", "rst"),))
            self.flush()
        else:
            self.end("rst")

    def end(self, how: str) -> None:
        """Close both sides; the target meets a client that has gone."""
        if self.closed:
            return
        self.closed = True
        self._close(self)
        self.target.close(reset=how == "rst")
        self.client.close(reset=how == "rst")


def _of_network(force: Force) -> bool:
    return force.order.kind.startswith("network.")
