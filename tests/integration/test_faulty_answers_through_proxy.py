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
        injector = await ProxyInjector.start(server.url, DIRECT, folder, 1)
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


COMMENT = b": " + b"x" * 96 + b"\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def bytes_apart(folder: Path, pause_s: float, undo_after: int) -> float:
    """Seconds that a stream takes whose bytes come one by one; the fault is undone once so many of them have come."""

    async def in_portions(turn: Turn) -> None:
        await turn.say(HEAD)
        for _ in range(3):
            await turn.say(COMMENT)
            await asyncio.sleep(0.05)  # shorter than the portion takes: the next one waits for its turn

    async with ScriptedServer(in_portions) as server:
        injector = await ProxyInjector.start(server.url, DIRECT, folder, 1)
        on = asyncio.Event()
        order = Order(number=1, kind="stream.bytewise", for_s=60.0, params={"delay": pause_s})
        fault = asyncio.create_task(injector.hold(order, on.set))
        await asyncio.wait_for(on.wait(), 30)
        target = parse_target(injector.base_url)
        reader, writer = await asyncio.open_connection(*target.peers[0])
        began_s = time.monotonic()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await reader.readexactly(len(HEAD))
        count = 0
        while data := await reader.read(65536):
            count += len(data)
            if count >= undo_after and not fault.done():
                fault.cancel()
                await asyncio.gather(fault, return_exceptions=True)
        took_s = time.monotonic() - began_s
        fault.cancel()
        await asyncio.gather(fault, return_exceptions=True)
        writer.close()
        await injector.close()
    assert count == 3 * len(COMMENT)
    return took_s


async def test_bytes_stay_apart_from_one_read_of_the_answer_to_the_next(tmp_path: Path) -> None:
    count = 3 * len(COMMENT)
    assert await bytes_apart(tmp_path, 0.005, undo_after=count) >= count * 0.005


async def test_an_answer_under_way_goes_on_at_once_when_its_fault_is_over(tmp_path: Path) -> None:
    assert await bytes_apart(tmp_path, 1.0, undo_after=2) < 60.0  # with its pauses it would take five minutes
