"""Who brings the faults of a run about: started when first needed, watched, and gone with the run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scenarios.address import Road
from scenarios.faults.clock_step import ClockStepInjector
from scenarios.faults.holder import HolderInjector, Subject
from scenarios.faults.injector import FaultRefused, Injector
from scenarios.faults.kinds import Via
from scenarios.faults.proxy import ProxyInjector
from scenarios.runner.options import RunOptions
from scenarios.runner.target import Target

NO_PROXY = "no proxy is in the path of this run's requests; start the run with --inject to have one there"


class InPath(Injector, Protocol):
    """An injector that requests pass through: they are sent to `base_url` by `road`."""

    base_url: str
    road: Road


@dataclass(frozen=True, slots=True)
class Starts:
    """How each of them is started. Raises HarnessError; FaultRefused where this machine has not what it takes."""

    proxy: Callable[[], Awaitable[InPath]]
    holder: Callable[[], Awaitable[Injector]]


def starts_of(options: RunOptions, target: Target, journal: Path) -> Starts:
    """The proxy before the target, and the guardian beside it."""

    async def proxy() -> InPath:
        return await ProxyInjector.start(target.base_url, target.road, journal.parent, options.seed)

    async def holder() -> Injector:
        subject = Subject(
            url=target.base_url,
            road=target.road,
            model=target.wire_model,
            key_env=options.api_key_env,
            journal=journal,
            runner_pid=os.getpid(),
            model_link=target.model_link,
            pids=target.processes,
        )
        return await HolderInjector.start(subject)

    return Starts(proxy, holder)


class Injectors:
    """One injector of each sort. The proxy must be in the path before a plan is sent, the holder starts when asked for.

    proxy: None while requests go straight to the target. proxy_died: done, with how, when the proxy has ended by
    itself: there is no way to the target any more. Made inside a running loop.
    """

    def __init__(self, starts: Starts, emit: Callable[[str, str], None]) -> None:
        self.proxy: InPath | None = None
        self.proxy_died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._no_proxy = ""  # why there can be none
        self._holder: Injector | None = None
        self._runner = ClockStepInjector()
        self._starts = starts
        self._emit = emit
        self._watches: list[asyncio.Task[None]] = []
        self._one_at_a_time = asyncio.Lock()

    async def ready(self, vias: Collection[Via], inject: bool) -> None:
        """Have those there that faults `vias` need; with `inject` the proxy in any case. Raises HarnessError."""
        if self.proxy is None and not self._no_proxy and (inject or Via.PROXY in vias):
            try:
                self.proxy = await self._starts.proxy()
            except FaultRefused as error:
                self._no_proxy = str(error)
                self._emit("proxy.refused", f"requests go straight to the target: {error}")
            else:
                self._watches.append(asyncio.create_task(self._watch_proxy(self.proxy)))
                self._emit("proxy.ready", "requests pass through the fault proxy of this run")
        if Via.HOLDER in vias:
            with suppress(FaultRefused):  # each of these faults is then skipped, with the reason
                await self.of(Via.HOLDER)

    async def of(self, via: Via) -> Injector:
        """Who brings about a fault of that sort. Raises FaultRefused, HarnessError."""
        if via is Via.HOLDER:
            async with self._one_at_a_time:
                if self._holder is None:
                    self._holder = await self._starts.holder()
                    self._watches.append(asyncio.create_task(self._watch_holder(self._holder)))
                return self._holder
        if via is Via.RUNNER:
            return self._runner
        if self.proxy is None:
            raise FaultRefused(self._no_proxy or NO_PROXY)
        return self.proxy

    async def close(self) -> None:
        """Undo what is still in force, and end them: first the proxy."""
        for watch in self._watches:
            watch.cancel()
        async with AsyncExitStack() as stack:
            for injector in (self._holder, self.proxy):
                if injector is not None:
                    stack.push_async_callback(injector.close)

    async def _watch_proxy(self, proxy: InPath) -> None:
        how = await proxy.died()
        self._emit("proxy.died", f"the proxy in the path of the requests is gone: {how}")
        self.proxy_died.set_result(how)

    async def _watch_holder(self, holder: Injector) -> None:
        how = await holder.died()
        self._emit("holder.died", f"the guardian of the faults is gone, and they with it: {how}")
        self._holder = None  # the next fault that needs one has a new one
        await holder.close()
