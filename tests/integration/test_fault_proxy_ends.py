"""The proxy when its runner is killed or hangs: the process ends with the one, the faults without the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fault_road import ask, outcomes, requests
from scripted_server import ScriptedServer, Turn, event, stream

from scenarios.address import DIRECT
from scenarios.faults.kinds import KINDS, Via
from scenarios.observation import Outcome

ROOT = Path(__file__).parents[2]

RUNNER = """
import asyncio, sys
from pathlib import Path
from scenarios.address import DIRECT
from scenarios.faults.injector import Order
from scenarios.faults.kinds import KINDS
from scenarios.faults.proxy import ProxyInjector

async def main(url, folder, for_s, kinds):
    proxy = await ProxyInjector.start(url, DIRECT, Path(folder), 1)
    on = asyncio.Semaphore(0)
    tasks = []
    for number, kind in enumerate(kinds, 1):
        params = {param.name: param.default for param in KINDS[kind].params}
        order = Order(number=number, kind=kind, for_s=float(for_s), params=params)
        tasks.append(asyncio.create_task(proxy.hold(order, on.release)))
    for _ in kinds:
        await on.acquire()
    print(proxy.pid, proxy.base_url, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:4], sys.argv[4:]))
"""


@dataclass(frozen=True, slots=True)
class Runner:
    process: asyncio.subprocess.Process
    proxy: psutil.Process
    base_url: str


@asynccontextmanager
async def runner(url: str, folder: Path, for_s: float, *kinds: str) -> AsyncIterator[Runner]:
    """A process that holds these faults, with the proxy that is its child."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNNER, url, str(folder), str(for_s), *kinds, cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        words = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()
        yield Runner(process, psutil.Process(int(words[0])), words[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await process.communicate()


async def gone(process: psutil.Process, within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def fine(turn: Turn) -> bool:
    await turn.say(stream(event("A")))
    return True


IN_THE_PATH = sorted(
    kind.name for kind in KINDS.values() if kind.via is Via.PROXY and kind.name != "network.tls_expired"
)


async def test_the_proxy_ends_when_its_runner_is_killed_whatever_is_in_force(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server, runner(server.url, tmp_path, 600, *IN_THE_PATH) as one:
        assert one.proxy.is_running()
        one.process.kill()
        await gone(one.proxy)
        assert outcomes(await ask(server.url, DIRECT, requests())) == {Outcome.OK}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_a_proxy_that_hangs_is_ended_by_the_kernel_with_its_runner(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server, runner(server.url, tmp_path, 600, "network.latency") as one:
        os.kill(one.proxy.pid, signal.SIGSTOP)
        one.process.kill()
        await gone(one.proxy)


async def test_faults_end_on_time_while_their_runner_hangs(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server, runner(server.url, tmp_path, 1.5, "network.refuse", "http.error") as one:
        os.kill(one.process.pid, signal.SIGSTOP)
        try:
            until = time.monotonic() + 30
            while outcomes(await ask(one.base_url, DIRECT, requests())) != {Outcome.OK}:
                assert time.monotonic() < until
        finally:
            os.kill(one.process.pid, signal.SIGCONT)
