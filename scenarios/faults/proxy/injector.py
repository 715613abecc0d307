"""The runner's side of the proxy: its process, what it is told, and the road by which the load workers reach it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from scenarios.address import Road, read_address
from scenarios.errors import HarnessError
from scenarios.faults.injector import Ended, FaultRefused, Order
from scenarios.faults.proxy.messages import InForce, Over, Refused, Setup, Start, Stop
from scenarios.faults.proxy.process import News, ProxyProcess

_NUMBERS = itertools.count(1)
_UNDO_TIMEOUT_S = 2.0


class ProxyInjector:
    """Brings about the kinds that lie in the path: network.*, http.* and stream.*.

    The load workers take `base_url` and `road` in the place of the target's. The process ends with this one.
    """

    def __init__(self, base_url: str, road: Road, process: ProxyProcess) -> None:
        self.base_url = base_url
        self.road = road
        self._process = process
        self._closed = False

    @classmethod
    async def start(cls, base_url: str, road: Road, folder: Path, seed: int = 0) -> Self:
        """A proxy on this machine before the target. `folder`: for its authority's certificate, until `close`.

        Raises FaultRefused where there can be none, TargetError where the target cannot be used.
        """
        if sys.platform != "linux":
            raise FaultRefused("faults of the network need Linux, whose epoll and timerfd the proxy is made of")
        if road.proxy:
            raise FaultRefused(
                f"the target lies behind the proxy {road.proxy}, and faults of the network need a proxy of their own "
                "before it: leave out either"
            )
        address = read_address(base_url)
        ca_file = folder / f"fault-proxy-ca-{os.getpid()}-{next(_NUMBERS)}.pem"
        plain = Road(ca_file=road.ca_file, verify=road.verify)  # headers and keys are the requests' own
        process = await ProxyProcess.spawn()
        try:
            ready = await process.set_up(Setup(base_url, plain, str(ca_file), seed))
        except BaseException:
            await process.close()
            raise
        headers = road.headers
        if not any(name.lower() == "host" for name, _ in headers):
            headers = (("Host", address.authority), *headers)
        scheme = "https" if ready.tls else "http"
        return cls(
            f"{scheme}://127.0.0.1:{ready.port}{address.prefix}",
            Road(headers=headers, ca_file=str(ca_file) if ready.tls else "", verify=road.verify),
            process,
        )

    @property
    def pid(self) -> int:
        """Of the proxy's process."""
        return self._process.pid

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """As Injector says. Raises HarnessError where the proxy's process has died."""
        news = self._process.listen(order.number)
        settled = False
        self._process.send(Start(order))
        try:
            while True:
                match await news.get():
                    case InForce():
                        on()
                        continue
                    case Refused(_, why):
                        settled = True
                        raise FaultRefused(why)
                    case Over(ended):
                        settled = True
                        return ended
                    case None:
                        settled = True
                        if self._closed:
                            return Ended(number=order.number, why="the proxy was ended")
                        raise HarnessError(f"the fault proxy has died: {self._process.last_words}")
        finally:
            if not settled:
                await self._undo(order.number, news)
            self._process.forget(order.number)

    def end(self, number: int) -> None:
        """See Injector.end."""
        self._process.send(Stop(number))

    async def _undo(self, number: int, news: News) -> None:
        """Have it ended now, and wait until it is."""
        self._process.send(Stop(number))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNDO_TIMEOUT_S):
                while isinstance(await news.get(), InForce):
                    pass

    async def died(self) -> str:
        """Return, saying how, when the proxy's process has ended by itself."""
        return await self._process.ended()

    async def close(self) -> None:
        """End the proxy, and with it every fault; connections through it break."""
        self._closed = True
        await self._process.close()
        if self.road.ca_file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.road.ca_file)
