"""The runner's side of the proxy: starts it, tells it of faults, hears of their ends, stops it."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import msgspec

from scenarios.address import Road, read_address
from scenarios.errors import HarnessError
from scenarios.faults.injector import Ended, FaultRefused, Order
from scenarios.faults.proxy.certificates import make_certificates
from scenarios.faults.proxy.control import Down, End, Failed, On, Over, Put, Ready, Setup, Up

_ROOT = Path(__file__).resolve().parents[3]
_PATIENCE_S = 20.0


class ProxyInjector:
    """`base_url` and `road` lead through the proxy to the target; `gone` is done when the proxy has died."""

    def __init__(self, process: Process, base_url: str, road: Road) -> None:
        self._process = process
        self.base_url = base_url
        self.road = road
        self.gone: asyncio.Task[None] = asyncio.create_task(self._hear(), name="fault-proxy")
        self._on: dict[int, Callable[[], None]] = {}
        self._over: dict[int, asyncio.Future[Ended]] = {}

    @classmethod
    async def start(cls, base_url: str, road: Road, folder: Path, seed: int) -> ProxyInjector:
        """A proxy in front of the target; `folder` takes the certificates where it needs some.

        Raises FaultRefused where a proxy cannot stand in that road, HarnessError where it does not start.
        """
        if road.proxy:
            raise FaultRefused("faults of the network cannot be injected on a road through another proxy; leave it out")
        address = read_address(base_url)
        tls = address.scheme == "https"
        authority, certificates = make_certificates(folder, address.host) if tls else ("", None)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "scenarios.faults.proxy"),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            start_new_session=True,
        )
        _write(process, Setup(base_url, road, certificates))
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                line = await process.stdout.readline()
            first = msgspec.json.decode(line, type=Up) if line else Failed("it ended while it was starting")
        except TimeoutError:
            first = Failed(f"it was not ready after {_PATIENCE_S:g} s")
        if not isinstance(first, Ready):
            await _end(process)
            raise HarnessError(f"the fault proxy did not start: {first.why if isinstance(first, Failed) else first}")
        host = ("Host", address.authority)
        kept = tuple(header for header in road.headers if header[0].lower() != "host")
        given = tuple(header for header in road.headers if header[0].lower() == "host")
        through = Road(headers=(*(given or (host,)), *kept), ca_file=authority)
        return cls(process, f"{address.scheme}://127.0.0.1:{first.port}{address.prefix}", through)

    async def hold(self, order: Order, on: Callable[[], None]) -> Ended:
        """See Injector."""
        if self.gone.done():
            raise FaultRefused("the fault proxy has ended")
        over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._on[order.number], self._over[order.number] = on, over
        try:
            _write(self._process, Put(order))
            return await asyncio.shield(over)
        except asyncio.CancelledError:
            _write(self._process, End(order.number))
            async with asyncio.timeout(_PATIENCE_S):
                await over
            raise
        finally:
            self._on.pop(order.number, None)
            self._over.pop(order.number, None)

    async def died(self) -> str:
        """See InPath."""
        await asyncio.shield(self.gone)
        return f"it ended with code {await self._process.wait()}"

    async def close(self) -> None:
        """End the proxy, and with it every fault and connection."""
        await _end(self._process)
        await self.gone

    async def _hear(self) -> None:
        decoder = msgspec.json.Decoder(Up)
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match decoder.decode(line):
                case On(number):
                    if (on := self._on.get(number)) is not None:
                        on()
                case Over(ended):
                    if (over := self._over.get(ended.number)) is not None and not over.done():
                        over.set_result(ended)
        for number, over in self._over.items():
            if not over.done():
                over.set_result(Ended(number=number, why="the fault proxy has ended"))


def _write(process: Process, message: Down) -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(msgspec.json.encode(message) + b"\n")


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(2.0):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
