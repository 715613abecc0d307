"""The client's own stumbles: the request keeps its end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from scripted_server import ScriptedServer, Turn, event, stream

from scenarios.load.client import Client
from scenarios.load.exchange import Ending, Exchange, Job
from scenarios.load.target import parse_target


async def fine(turn: Turn) -> bool:
    await turn.say(stream(event("A")))
    return True


def job(**own: Any) -> Job:
    wire = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    settings = {"timeout_s": 5.0, "stream": True, "raw": False, "head": False, "contract": True, **own}
    return Job(index=0, due_ns=0, wire=wire, **settings)


async def send_all(*jobs: Job) -> tuple[list[Exchange], Client]:
    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    async with ScriptedServer(fine) as server:
        client = Client(parse_target(server.url), 10, lambda exchange: None, ended.put_nowait)
        seen = []
        for one in jobs:
            client.send(one, time.monotonic_ns())
            seen.append(await asyncio.wait_for(ended.get(), 10))
        client.close()
    assert ended.empty()
    return seen, client


async def test_a_failure_of_our_own_while_sending_ends_that_request_only() -> None:
    (broken, whole), client = await send_all(job(hang_up_after_s="soon"), job())
    assert broken.ending in (Ending.STOPPED, Ending.UNSENT)
    assert broken.reason.startswith("the load worker failed: TypeError")
    assert whole.ending is Ending.COMPLETE
    assert client.in_flight == 0


async def test_a_failure_of_our_own_before_sending_leaves_the_request_unsent() -> None:
    (broken, whole), _ = await send_all(job(timeout_s="long"), job())
    assert (broken.ending, broken.sent_ns) == (Ending.UNSENT, None)
    assert whole.ending is Ending.COMPLETE


async def test_a_failure_of_our_own_while_reading_ends_that_request_only() -> None:
    class Refusing(Exchange):
        def take_header(self, name: bytes, value: bytes) -> None:
            raise LookupError("on purpose")

    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    async with ScriptedServer(fine) as server:
        client = Client(parse_target(server.url), 10, lambda exchange: None, ended.put_nowait)
        exchange = Refusing(job(), time.monotonic_ns())
        client._live.add(exchange)
        client._dispatch(exchange)
        await asyncio.wait_for(ended.get(), 10)
        client.close()
    assert exchange.ending is Ending.STOPPED
    assert "LookupError: on purpose" in exchange.reason
