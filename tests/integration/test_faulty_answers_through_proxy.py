"""The http.* and stream.* faults where they happen: in the proxy, between the load client and a server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from faulty_answers import CASES, CHUNKED, TEXT, Case
from scripted_server import Script, ScriptedServer, Turn

from scenarios.address import DIRECT
from scenarios.faults.injector import Order
from scenarios.faults.proxy import ProxyInjector
from scenarios.load.answer import Reading
from scenarios.load.client import Client
from scenarios.load.exchange import Exchange
from scenarios.load.job import job_of
from scenarios.load.target import parse_target
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest

Seen = dict[str, tuple[Observation, Observation]]


def says(raw: bytes) -> Script:
    async def script(turn: Turn) -> bool:
        for at in range(0, len(raw), 100):
            await turn.say(raw[at : at + 100])
        return b"Connection: close" not in raw

    return script


async def run_all(folder: Path) -> Seen:
    """For each case what came of it, and of the next request, without a fault."""
    scripts = {"sound": says(CHUNKED), **{name: says(case.raw) for name, case in CASES.items()}}
    seen: Seen = {}
    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    async with ScriptedServer(scripts) as server:
        injector = await ProxyInjector.start(server.url, DIRECT, folder)
        target = parse_target(injector.base_url, "", injector.road)
        client = Client(target, 4, lambda exchange: None, ended.put_nowait)

        async def ask(name: str, case: Case) -> Observation:
            request = PlannedRequest(
                index=0, due_ns=0, path=f"/v1/{name}", body=b"{}", timeout_s=20.0, stream=case.stream
            )
            client.send(job_of(request, target, {"": ""}), time.monotonic_ns())
            exchange = await asyncio.wait_for(ended.get(), 30)
            one = Reading(exchange, 0, 0).step(1 << 62)
            assert one is not None
            return one

        for number, (name, case) in enumerate(CASES.items()):
            on = asyncio.Event()
            order = Order(number=number, kind=case.kind, for_s=60.0, params=case.params)
            fault = asyncio.create_task(injector.hold(order, on.set))
            await asyncio.wait_for(on.wait(), 30)
            one = await ask(name, case)
            fault.cancel()
            await asyncio.gather(fault, return_exceptions=True)
            seen[name] = one, await ask("sound", CASES["stream.stall-chunked"])
        client.close()
        await injector.close()
    return seen


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(run_all(tmp_path_factory.mktemp("proxy")))


@pytest.mark.parametrize("name", CASES)
def test_each_fault_of_an_answer_has_its_outcome_through_the_proxy(observed: Seen, name: str) -> None:
    case, (one, after) = CASES[name], observed[name]
    assert (one.outcome, one.status, one.begun) == (case.outcome, case.status, 1), one
    assert case.text is None or one.answer == case.text, one
    assert (after.outcome, after.answer) == (Outcome.OK, TEXT), after
