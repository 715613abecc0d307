"""Clients that behave badly towards a server that counts what they do, and are gone when the fault is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from crowded_server import CrowdedServer
from held_faults import order_of, subject_of

from scenarios.faults.clients.kinds import CLIENT_HOLDERS
from scenarios.faults.holder import HolderInjector
from scenarios.faults.injector import Ended, FaultRefused
from scenarios.faults.kinds import KINDS


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # what is asked for tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def held(server: CrowdedServer, kind: str, **params: float) -> AsyncIterator[asyncio.Task[Ended]]:
    """The fault in force against the server; afterwards it is over and nobody is connected any more."""
    injector = await HolderInjector.start(subject_of(dict, url=server.url))
    on = asyncio.Event()
    holding = asyncio.create_task(injector.hold(order_of(kind, **params), on.set))
    try:
        await on.wait()
        yield holding
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await injector.close()
    await until(lambda: not server.open)


async def facts_of(server: CrowdedServer, kind: str, for_s: float, **params: float) -> dict[str, float]:
    injector = await HolderInjector.start(subject_of(dict, url=server.url))
    try:
        ended = await injector.hold(order_of(kind, for_s=for_s, **params), lambda: None)
    finally:
        await injector.close()
    assert ended.undone
    facts = {name: float(value) for name, value in ended.facts.items()}
    assert facts["asked"] == sum(facts[how] for how in ("ok", "shed", "failed", "refused", "left"))
    return facts


def test_every_kind_of_client_has_its_function() -> None:
    assert CLIENT_HOLDERS.keys() == {name for name in KINDS if name.startswith("clients.")}


async def test_slow_readers_leave_most_of_their_answers_unread() -> None:
    async with CrowdedServer(events=10_000, event_bytes=1000) as server:
        async with held(server, "clients.slow_readers", clients=3, rate=100.0):
            await until(lambda: len(server.asked) == 3)
            sent = -1
            while sent != (sent := sum(one.sent_bytes for one in server.asked)):  # noqa: ASYNC110  # until it is held up
                await asyncio.sleep(0.3)
            assert server.open == 3
            assert all(guest.sent_bytes < 10_000 * 1000 for guest in server.asked)
        assert {guest.ended for guest in server.asked} <= {"broken", "left"}


@pytest.mark.parametrize("after", [0, 2])
async def test_those_who_hang_up_do_so_after_so_many_events(after: int) -> None:
    async with CrowdedServer(events=1000, every_s=0.01) as server:
        facts = await facts_of(server, "clients.hang_up", for_s=1.0, clients=2, after=after)
    assert facts["left"] >= 4
    assert facts["ok"] == 0
    assert {guest.ended for guest in server.asked} <= {"left", "broken"}
    event = len(b'data: {"choices": [{"delta": {"content": "aaaaaaaaaa"}}]}\n\n')
    assert all(guest.sent_bytes < 100 * event for guest in server.asked)


async def test_a_storm_of_retries_comes_back_at_once_when_it_is_turned_away() -> None:
    async with CrowdedServer(status=429) as server:
        facts = await facts_of(server, "clients.retry_storm", for_s=1.0, clients=4)
    assert facts["shed"] > 12  # four clients that wait a second would come four times
    assert server.open_most <= 4 + 4  # a connection that was cut off may be noticed after the next one came


async def test_retries_that_wait_do_wait() -> None:
    async with CrowdedServer(status=503) as server:
        facts = await facts_of(server, "clients.retry_storm", for_s=1.0, clients=2, wait=0.4)
    assert 2 <= facts["shed"] <= 6


async def test_a_herd_asks_at_one_moment_as_soon_as_the_target_answers() -> None:
    async with CrowdedServer(events=1) as server:
        facts = await facts_of(server, "clients.herd", for_s=30.0, clients=20)
    assert facts["ok"] == 21  # one found out that it answers
    assert len(server.asked) == 20
    assert facts["connections"] == 20  # nobody was served, and gone, before the last one was there


async def test_a_herd_does_not_wait_for_a_list_of_models_that_the_target_does_not_have() -> None:
    async with CrowdedServer(events=1, list_status=404) as server:
        facts = await facts_of(server, "clients.herd", for_s=30.0, clients=5)
    assert (facts["ok"], facts["failed"]) == (5, 1)


async def test_a_herd_waits_for_a_target_that_is_not_ready() -> None:
    async with CrowdedServer(events=1, list_status=503) as server:
        facts = await facts_of(server, "clients.herd", for_s=0.5, clients=5)
    assert server.asked == []
    assert facts["shed"] == facts["asked"] > 0


async def test_an_abuser_asks_at_a_rate_whatever_the_answers_take() -> None:
    async with CrowdedServer(events=3, every_s=0.3) as server:
        facts = await facts_of(server, "clients.abuser", for_s=1.5, rate=40.0)
    assert 20 <= facts["asked"] <= 61
    assert facts["late"] == 0
    assert server.open_most > 5


async def test_a_huge_upload_stops_when_it_is_answered() -> None:
    async with CrowdedServer() as server:
        facts = await facts_of(server, "clients.huge_upload", for_s=1.0, clients=2, size=1 << 32)
    assert all(guest.body_bytes == 1 << 32 for guest in server.asked)
    assert facts["sent_bytes"] < 1 << 30
    assert facts["failed"] >= 2


async def test_an_upload_that_is_taken_is_json_to_its_last_byte() -> None:
    async with CrowdedServer(size_limit=1 << 24) as server:
        facts = await facts_of(server, "clients.huge_upload", for_s=1.0, clients=1, size=300_000)
        assert facts["ok"] >= 1
        body = json.loads(server.asked[0].body)
    assert len(server.asked[0].body) == 300_000
    assert body["messages"][0]["content"].endswith("aaaa")


async def test_slowlorises_hold_connections_with_heads_that_never_end() -> None:
    async with CrowdedServer() as server, held(server, "clients.slowloris", clients=30, pause=0.02):
        await until(lambda: server.open == 30)
        await asyncio.sleep(0.5)
        assert server.open == 30
        assert not any(guest.head for guest in server.guests)


async def test_slowlorises_come_back_when_they_are_thrown_out() -> None:
    async with CrowdedServer(head_limit_s=0.2) as server:
        facts = await facts_of(server, "clients.slowloris", for_s=1.5, clients=5, pause=0.05)
    assert facts["asked"] > 10
    assert facts["connections"] <= 5


async def test_long_contexts_are_as_long_as_asked_for_and_begin_differently() -> None:
    async with CrowdedServer() as server:
        await facts_of(server, "clients.long_contexts", for_s=0.7, clients=3, words=700)
        prompts = [json.loads(guest.body)["messages"][0]["content"] for guest in server.asked if guest.body]
    assert len(prompts) >= 3
    assert {len(prompt.split()) for prompt in prompts} == {700}
    assert len({prompt[:8] for prompt in prompts}) == len(prompts)


async def test_more_words_than_this_machine_has_memory_for_are_refused_beforehand() -> None:
    async with CrowdedServer() as server:
        with pytest.raises(FaultRefused, match=r"take much of this machine's own memory; choose fewer"):
            await facts_of(server, "clients.long_contexts", for_s=1.0, clients=2000, words=1_000_000)
    assert server.guests == []


async def test_clients_of_a_target_that_is_not_there_are_refused_and_do_not_spin() -> None:
    async with CrowdedServer() as server:
        gone = server.url
    injector = await HolderInjector.start(subject_of(dict, url=gone))
    try:
        ended = await injector.hold(order_of("clients.retry_storm", for_s=0.5, clients=2), lambda: None)
    finally:
        await injector.close()
    assert 2 <= float(ended.facts["refused"]) <= 52


async def test_an_address_that_no_client_can_use_is_refused_with_its_reason() -> None:
    injector = await HolderInjector.start(subject_of(dict, url="http://nowhere.invalid:1"))
    try:
        with pytest.raises(FaultRefused, match="cannot be resolved"):
            await injector.hold(order_of("clients.herd"), lambda: None)
    finally:
        await injector.close()
