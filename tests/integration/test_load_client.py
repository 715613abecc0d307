"""The client's own stumbles: the request keeps its end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from scripted_server import ROLE, Script, ScriptedServer, Turn, event, stream

from scenarios.load.chunk import says_text
from scenarios.load.client import Client
from scenarios.load.connection import Connection
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


def tokens(count: int) -> bytes:
    return stream(ROLE, *(event(f" {number}") for number in range(count)))


async def send_to(script: Script, one: Job, epoll: bool = True) -> tuple[Exchange, ScriptedServer]:
    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    async with ScriptedServer(script) as server:
        client = Client(parse_target(server.url), 10, lambda exchange: None, ended.put_nowait)
        if not epoll:
            client.sockets = None
        client.send(one, time.monotonic_ns())
        exchange = await asyncio.wait_for(ended.get(), 20)
        client.close()
    return exchange, server


@pytest.mark.parametrize("epoll", [True, False])
@pytest.mark.parametrize("by_the_byte", [True, False])
async def test_a_client_that_hangs_up_after_some_events_has_just_those(epoll: bool, by_the_byte: bool) -> None:
    left = asyncio.Event()

    async def script(turn: Turn) -> None:
        answer = tokens(50)
        answer = answer[: answer.index(event(" 20"))]
        size = 1 if by_the_byte else len(answer)
        try:
            for at in range(0, len(answer), size):
                await turn.say(answer[at : at + size])
            await turn.until_closed()
        finally:
            left.set()

    exchange, _ = await send_to(script, job(hang_up_after_events=3), epoll)
    assert (exchange.ending, exchange.reason) == (Ending.HUNG_UP, "hung up on purpose")
    assert exchange.splitter is not None
    assert [says_text(raw) for raw in exchange.splitter.events] == [False, True, True, True]
    await asyncio.wait_for(left.wait(), 10)


async def test_an_answer_with_fewer_events_than_the_client_waits_for_is_whole() -> None:
    async def script(turn: Turn) -> bool:
        await turn.say(tokens(2))
        return True

    exchange, _ = await send_to(script, job(hang_up_after_events=3))
    assert exchange.ending is Ending.COMPLETE


@pytest.mark.parametrize("epoll", [True, False])
async def test_a_slow_reader_makes_the_server_wait_and_gets_everything(epoll: bool) -> None:
    answer = tokens(6_000)
    waited_s = 0.0

    async def script(turn: Turn) -> bool:
        nonlocal waited_s
        sock = turn.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        turn.writer.transport.set_write_buffer_limits(0)
        begun_s = time.monotonic()
        for at in range(0, len(answer), 1000):
            await turn.say(answer[at : at + 1000])
        waited_s = time.monotonic() - begun_s
        return True

    rate = 1_000_000
    exchange, server = await send_to(script, job(read_bytes_per_s=rate, timeout_s=15.0), epoll)
    assert exchange.ending is Ending.COMPLETE
    assert exchange.splitter is not None
    assert len(exchange.splitter.events) == 6_003  # with role, finish_reason and [DONE]
    took_s = (exchange.end_ns - (exchange.sent_ns or 0)) / 1e9
    assert took_s > 0.5 * len(answer) / rate
    assert waited_s > 0.25 * len(answer) / rate
    assert server.connections == 1


async def test_a_slow_readers_connection_is_nobody_elses() -> None:
    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    async with ScriptedServer(fine) as server:
        client = Client(parse_target(server.url), 10, lambda exchange: None, ended.put_nowait)
        for one in (job(read_bytes_per_s=1_000_000), job()):
            client.send(one, time.monotonic_ns())
            assert (await asyncio.wait_for(ended.get(), 10)).ending is Ending.COMPLETE
        client.close()
    assert server.connections == 2


@pytest.mark.parametrize("epoll", [True, False])
async def test_a_connection_that_dies_before_it_is_used_ends_its_request_and_frees_its_place(epoll: bool) -> None:
    async def shut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    class Busy(Client):
        """The end is read in the turn of the loop between the connection and its use, as where streams are busy."""

        async def _open_one(self, job: Job) -> Connection:
            connection = await super()._open_one(job)
            async with asyncio.timeout(10):
                while connection.idle:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.001)
            return connection

    ended: asyncio.Queue[Exchange] = asyncio.Queue()
    server = await asyncio.start_server(shut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Busy(parse_target(f"http://127.0.0.1:{port}"), 2, lambda exchange: None, ended.put_nowait)
    if not epoll:
        client.sockets = None
    for _ in range(6):
        client.send(job(), time.monotonic_ns())
    for _ in range(6):
        exchange = await asyncio.wait_for(ended.get(), 10)
        assert (exchange.ending, exchange.sent_ns) == (Ending.RESET, None)
    assert "open=0 idle=0 connecting=0 waiting=0 live=0" in repr(client)
    client.close()
    server.close()
