"""A fault in force: which connections and requests it takes hold of, and how many it has hit. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

from scenarios.faults.injector import Order
from scenarios.faults.proxy.stages import (
    GONE,
    RST,
    SHUT,
    Bandwidth,
    Corrupt,
    Cut,
    Hold,
    Latency,
    Slice,
    SlowStart,
    Stage,
)

_CONTENT = ("http", "stream")


class Fault:
    """Counts what it hit. `settled` is called when it may hit no more and is through with all that it hit."""

    def __init__(self, order: Order, seed: int, settled: Callable[[], None]) -> None:
        self.order = order
        self.number = order.number
        self.kind = order.kind
        self.of_content = order.kind.partition(".")[0] in _CONTENT
        self._seed = f"{seed}:{order.seed}"
        self._settled = settled
        self._hit = 0
        self._under_way = 0
        self._bytes = 0

    def seconds(self, name: str) -> float:
        return float(self.order.params[name])

    def rng(self, what: str) -> random.Random:
        """Its own chance for one connection, direction or request; the same for the same seeds."""
        return random.Random(f"{self._seed}:{what}")

    def takes(self, number: int) -> bool:
        """Whether the connection or request of that number is of its share."""
        return self.order.share >= 1.0 or self.rng(f"share:{number}").random() < self.order.share

    @property
    def full(self) -> bool:
        return 0 < self.order.hits <= self._hit

    @property
    def facts(self) -> dict[str, float | str]:
        if self.kind == "network.refuse":
            return {}
        if self.of_content:
            return {"requests": float(self._hit)}
        return {"connections": float(self._hit), "bytes": float(self._bytes)}

    def begin_one(self) -> None:
        self._hit += 1
        self._under_way += 1

    def end_one(self) -> None:
        self._under_way -= 1
        if self.full and not self._under_way:
            self._settled()

    def count(self, size: int) -> None:
        self._bytes += size


class Held:
    """The fault's hold on one connection or request: a hit once it has done something there."""

    __slots__ = ("_fault", "_hit", "_let_go")

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._hit = self._let_go = False

    @property
    def number(self) -> int:
        return self._fault.number

    def hit(self, size: int) -> bool:
        """So many bytes are about to be held or changed. False: it has hit as many as it may, and leaves this one."""
        if not self._hit:
            if self._let_go or self._fault.full:
                return False
            self._hit = True
            self._fault.begin_one()
        self._fault.count(size)
        return True

    def let_go(self) -> None:
        """The connection or the answer is over."""
        if not self._let_go:
            self._let_go = True
            if self._hit:
                self._fault.end_one()


Both = tuple[Stage | None, Stage | None]


def stages(fault: Fault, held: Held, number: int, open_bytes: int | None, asked_ns: int) -> Both:
    """What a fault of the network puts into connection `number`: for answers, for requests; None for nothing.

    open_bytes: of the answer under way, how many are through; None where no answer is due. asked_ns: of the request's
    last byte.
    """
    params = fault.order.params

    def both_ways(make: Callable[[str], Stage]) -> Both:
        way = params.get("direction", "both")
        return make("down") if way != "up" else None, make("up") if way != "down" else None

    match fault.kind:
        case "network.latency":
            delay_s, jitter_s = fault.seconds("delay"), fault.seconds("jitter")
            return both_ways(lambda way: Latency(held, delay_s, jitter_s, fault.rng(f"{way}:{number}")))
        case "network.bandwidth":
            return both_ways(lambda _: Bandwidth(held, float(params["rate"])))
        case "network.slice":
            return both_ways(lambda _: Slice(held, int(params["size"]), fault.seconds("delay")))
        case "network.blackhole":
            return both_ways(lambda _: Hold(held))
        case "network.slow_start":
            return SlowStart(held, fault.seconds("delay"), begun=bool(open_bytes)), None
        case "network.corrupt":
            return Corrupt(held, float(params["per"]), fault.rng(f"down:{number}")), None
        case "network.reset":
            return Cut(held, int(params["after"]), RST, open_bytes, asked_ns), None
        case "network.close":
            return Cut(held, int(params["after"]), SHUT, open_bytes, asked_ns), None
        case "network.half_open":
            return Cut(held, 0, GONE, open_bytes, asked_ns), None
    return None, None
