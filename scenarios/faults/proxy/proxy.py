"""The proxy itself: its links, and the faults that are in force on them."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable
from functools import partial

from scenarios.faults.injector import Ended, FaultRefused, Order
from scenarios.faults.kinds import KINDS, Via
from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.faults.proxy.certificates import Certificates
from scenarios.faults.proxy.fault import Fault, Held, stages
from scenarios.faults.proxy.link import Link
from scenarios.faults.proxy.listener import Listener
from scenarios.faults.proxy.loop import Alarm, Loop
from scenarios.faults.proxy.stages import Answered
from scenarios.load.target import Target

_TIME_OVER = "its time was over"
_ENOUGH_HIT = "so many were hit"
_STOPPED = "it was stopped"
_REFUSE, _SLOW_CONNECT, _EXPIRED, _HALF_OPEN = (
    f"network.{name}" for name in ("refuse", "slow_connect", "tls_expired", "half_open")
)


class Proxy:
    """Takes connections, carries them to the target, and holds the faults on them; each fault ends by itself."""

    def __init__(
        self,
        loop: Loop,
        target: Target,
        certificates: Certificates | None,
        seed: int,
        over: Callable[[Ended], None],
    ) -> None:
        """`over` is called when a fault has ended. Raises OSError where there is no port."""
        self.of_content = False
        self._loop = loop
        self._target = target
        self._certificates = certificates
        self._seed = seed
        self._over = over
        self._links: dict[int, Link] = {}
        self._numbers = itertools.count()
        self._requests = itertools.count()
        self._faults: dict[int, Fault] = {}
        self._alarms: dict[int, Alarm] = {}
        self._late: dict[int, tuple[Held, Alarm, Callable[[], None]]] = {}  # links that do not begin yet
        self._listener = Listener(loop, self._accepted)

    @property
    def port(self) -> int:
        return self._listener.port

    # ---- faults

    def start(self, order: Order) -> None:
        """Put a fault in force. Raises FaultRefused."""
        self._check(order)
        fault = Fault(order, self._seed, partial(self._loop_end, order.number, _ENOUGH_HIT))
        self._faults[fault.number] = fault
        self._alarms[fault.number] = self._loop.at(
            self._loop.now_ns + round(order.for_s * 1e9), partial(self.end, fault.number, _TIME_OVER)
        )
        self._note_content()
        if fault.kind == _REFUSE:
            self._listener.refuse()
        for link in list(self._links.values()):
            if link.open:
                self._lay_hands(fault, link, fresh=False)

    def _check(self, order: Order) -> None:
        kind = KINDS.get(order.kind)
        if kind is None or kind.via is not Via.PROXY:
            raise FaultRefused(f"{order.kind} is no fault of the road to the target")
        if order.number in self._faults:
            raise FaultRefused(f"fault {order.number} is in force already")
        if order.for_s <= 0:
            raise FaultRefused(f"{order.kind} needs a length; give it `for`")
        if order.kind == _REFUSE and (order.share < 1.0 or order.hits):
            raise FaultRefused(
                "network.refuse concerns every new connection, and those that are refused are never seen: "
                "leave out `share` and `hits`"
            )
        if order.kind == _EXPIRED and self._target.tls is None:
            raise FaultRefused("network.tls_expired needs a target at https://")
        if order.kind == _EXPIRED and self._certificates is None:
            raise FaultRefused("network.tls_expired needs the package trustme: pip install 'seatrial[tls]'")

    def _loop_end(self, number: int, why: str) -> None:
        """End it in the next turn: this one may be in the middle of a link's."""
        self._loop.at(self._loop.now_ns, partial(self.end, number, why))

    def end(self, number: int, why: str = _STOPPED) -> None:
        """Undo a fault; nothing where it is over already."""
        fault = self._faults.pop(number, None)
        if fault is None:
            return
        self._alarms.pop(number).cancel()
        self._note_content()
        left = {other.kind for other in self._faults.values()}
        for link in list(self._links.values()):
            if link.open:
                self._let_go(number, link)
            if link.loses_target and _HALF_OPEN not in left:
                link.abort()
        if fault.kind == _REFUSE and _REFUSE not in left:
            self._listener.open()
        for held, alarm, begin in [late for late in self._late.values() if late[0].number == number]:
            held.let_go()
            alarm.cancel()
            begin()
        self._over(Ended(number=number, why=why, facts=fault.facts))

    def _let_go(self, number: int, link: Link) -> None:
        for lane in (link.down, link.up):
            for stage in [one for one in lane.stages if one.number == number]:
                if isinstance(stage, Answered):
                    stage.hurry(self._loop.now_ns)
                elif stage in lane.stages:
                    lane.remove(stage)
            if not lane.dead:
                lane.pump()

    def _note_content(self) -> None:
        self.of_content = any(fault.of_content for fault in self._faults.values())

    def _lay_hands(self, fault: Fault, link: Link, fresh: bool) -> None:
        if link.gone or fault.of_content or fault.full or not fault.takes(link.number):
            return
        open_bytes = link.open_bytes
        if fault.kind == _HALF_OPEN and not fresh:
            open_bytes = open_bytes or 1  # an open one is lost at once, busy or not
        down, up = stages(fault, Held(fault), link.number, open_bytes, link.asked_ns)
        for lane, stage in ((link.down, down), (link.up, up)):
            if stage is not None:
                lane.add(stage)
                lane.pump()

    # ---- links

    def _accepted(self, client: socket.socket) -> None:
        number = next(self._numbers)
        link = self._links[number] = Link(self._loop, self, number, self._target, client)
        tls = None
        if self._certificates is not None:
            tls = self._certificates.good
            if self._chosen(_EXPIRED, number) is not None:
                tls = self._certificates.expired
        begin = partial(self._begin, link, tls)
        held = self._chosen(_SLOW_CONNECT, number)
        if held is None:
            begin()
            return
        delay_s = self._faults[held.number].seconds("delay")
        self._late[number] = held, self._loop.at(self._loop.now_ns + round(delay_s * 1e9), begin), begin

    def _chosen(self, kind: str, number: int) -> Held | None:
        """The hold of a fault of that kind on this new connection, where there is such a fault and it takes it."""
        for fault in self._faults.values():
            if fault.kind == kind and fault.takes(number):
                held = Held(fault)
                if held.hit(0):
                    if kind == _EXPIRED:
                        held.let_go()
                    return held
        return None

    def _begin(self, link: Link, tls: ssl.SSLContext | None) -> None:
        late = self._late.pop(link.number, None)
        if late is not None:
            late[0].let_go()
        link.begin(tls)

    def opened(self, link: Link) -> None:
        for fault in self._faults.values():
            self._lay_hands(fault, link, fresh=True)

    def closed(self, link: Link) -> None:
        self._links.pop(link.number, None)

    def decide(self, head: bytes) -> tuple[list[Answered], bool]:
        number = next(self._requests)
        chosen: list[Answered] = []
        for fault in self._faults.values():
            if not fault.of_content or not fault.takes(number):
                continue
            held = Held(fault)
            if not held.hit(0):
                continue
            transform = TRANSFORMS[fault.kind](fault.order.params)
            stage = Answered(held, transform)
            pieces = transform.instead(head)
            if pieces is not None:
                for other in chosen:
                    other.let_go()
                stage.say(pieces, self._loop.now_ns)
                return [stage], True
            chosen.append(stage)
        return chosen, False

    def close(self) -> None:
        """Stop listening; what is carried ends with the process."""
        self._listener.close()
