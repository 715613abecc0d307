"""The fault proxy between the real load client and a real server: nothing is changed, then what each fault comes to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fault_road import ask, before, behind, hold, order, outcomes, requests
from scripted_server import (
    CUT,
    END,
    JSON,
    LAST,
    STREAM_HEAD,
    Script,
    ScriptedServer,
    Turn,
    answer,
    chunk,
    event,
    stream,
)

from scenarios.address import DIRECT, Road
from scenarios.errors import HarnessError, TargetError
from scenarios.faults.injector import FaultRefused
from scenarios.faults.proxy import ProxyInjector
from scenarios.observation import Observation, Outcome


async def fine(turn: Turn) -> bool:
    await turn.say(stream(event("A"), event("B")))
    return True


async def slow(turn: Turn) -> bool:
    """Long at its prefill, for as long as the client stays."""
    await turn.until_closed()
    return False


def halting(begun: asyncio.Event, go_on: asyncio.Event) -> Script:
    """The first half of an answer, and the second one when it may."""

    async def script(turn: Turn) -> bool:
        await turn.say(STREAM_HEAD, chunk(event("A")))
        begun.set()
        await go_on.wait()
        await turn.say(chunk(event("B")), chunk(LAST), chunk(b"data: [DONE]\n\n"), END)
        return True

    return script


async def halfway(
    proxy: ProxyInjector, begun: asyncio.Event, timeout_s: float = 20.0
) -> asyncio.Task[list[Observation]]:
    """A request that the target has begun to answer."""
    asking = asyncio.create_task(ask(proxy.base_url, proxy.road, requests(timeout_s=timeout_s)))
    await asyncio.wait_for(begun.wait(), 20)
    return asking


class Bare:
    """A client that knows which bytes have come: requests on one connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self) -> None:
        self._writer.write(b"POST /v1/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        await self._writer.drain()

    async def hear(self, said: bytes) -> None:
        assert await asyncio.wait_for(self._reader.readexactly(len(said)), 20) == said

    async def hear_all(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(), 20)


@asynccontextmanager
async def bare(proxy: ProxyInjector) -> AsyncIterator[Bare]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
    try:
        yield Bare(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def port_of(proxy: ProxyInjector) -> int:
    return int(proxy.base_url.rpartition(":")[2])


# ---- without a fault


async def test_without_a_fault_nothing_is_changed(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        seen = await ask(proxy.base_url, proxy.road, requests(5))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, "AB")] * 5
        assert {turn.header("host") for turn in server.turns} == {server.url.removeprefix("http://")}
        assert server.connections == 1


async def says_nothing(turn: Turn) -> None:
    return


async def resets_at_once(turn: Turn) -> None:
    turn.reset()


async def stops_in_the_middle(turn: Turn) -> None:
    await turn.say(CUT)


async def resets_in_the_middle(turn: Turn) -> None:
    await turn.say(CUT)
    await asyncio.sleep(0.05)
    turn.reset()


async def speaks_something_else(turn: Turn) -> None:
    await turn.say(b"SSH-2.0-OpenSSH_9.6\r\n")


async def turns_away(turn: Turn) -> bool:
    await turn.say(answer("429 Too Many Requests", b"{}", JSON, "Retry-After: 1"))
    return True


async def answers_until_it_closes(turn: Turn) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    await turn.say(head + event("A") + LAST + b"data: [DONE]\n\n")


SERVERS = (
    fine, says_nothing, resets_at_once, stops_in_the_middle, resets_in_the_middle, speaks_something_else, turns_away,
    answers_until_it_closes,
)  # fmt: skip


@pytest.mark.parametrize("script", SERVERS)
async def test_what_the_target_does_is_the_same_outcome_with_the_proxy_as_without(
    script: Script, tmp_path: Path
) -> None:
    async with behind(script, tmp_path) as (server, proxy):
        direct = await ask(server.url, DIRECT, requests(3))
        carried = await ask(proxy.base_url, proxy.road, requests(3))
    assert [(one.outcome, one.status, one.error, one.answer) for one in carried] == [
        (one.outcome, one.status, one.error, one.answer) for one in direct
    ]


async def test_a_client_that_hangs_up_is_gone_for_the_target_too(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def script(turn: Turn) -> None:
        with contextlib.suppress(ConnectionError):
            await turn.until_closed()
        gone.set()

    async with behind(script, tmp_path) as (_, proxy):
        (seen,) = await ask(proxy.base_url, proxy.road, requests(hang_up_after_s=0.1))
        assert seen.outcome is Outcome.CANCELLED
        await asyncio.wait_for(gone.wait(), 20)


async def test_half_a_close_is_passed_on_as_half_a_close(tmp_path: Path) -> None:
    async def script(turn: Turn) -> None:
        heard = await turn.reader.read()
        await turn.say(b"all of " + heard)

    async with behind(script, tmp_path) as (_, proxy):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
        writer.write(b"GET / HTTP/1.1\r\n\r\nand more")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 20) == b"all of and more"
        writer.close()


async def test_a_target_that_is_not_there_refuses_or_resets(tmp_path: Path) -> None:
    async with ScriptedServer(fine) as server:
        url = server.url
    async with before(url, tmp_path) as proxy:
        assert outcomes(await ask(proxy.base_url, proxy.road, requests(5))) <= {Outcome.REFUSED, Outcome.RESET}


async def test_a_reader_that_stands_still_holds_the_target_back(tmp_path: Path) -> None:
    said = 0
    size = 64 << 20

    async def script(turn: Turn) -> None:
        nonlocal said
        turn.writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(ConnectionError):
            for _ in range(size >> 16):
                await turn.say(bytes(1 << 16))
                said += 1 << 16

    async with behind(script, tmp_path) as (_, proxy):
        for kind in (None, "network.latency", "network.blackhole"):
            held = await hold(proxy, order(kind, number=2)) if kind else None
            said = 0
            client = socket.create_connection(("127.0.0.1", port_of(proxy)))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            seen = -1
            while seen < said or (not said and kind != "network.blackhole"):
                seen = said
                await asyncio.sleep(0.3)
            assert said < size // 2
            if held is not None:
                await held.stop()
            client.close()


# ---- the faults of the network


async def test_latency_is_added_to_the_answer_and_taken_off_again(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        held = await hold(proxy, order("network.latency", delay=1.0))
        seen = await ask(proxy.base_url, proxy.road, requests(3))
        assert outcomes(seen) == {Outcome.OK}
        assert min(took_s(one) for one in seen) >= 1.0
        await held.stop()
        later = await ask(proxy.base_url, proxy.road, requests(3))
        assert min(took_s(one) for one in later) < 1.0


def took_s(one: Observation) -> float:
    assert one.sent_ns is not None
    return (one.end_ns - one.sent_ns) / 1e9


async def test_latency_of_requests_reaches_the_target_late(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        await hold(proxy, order("network.latency", delay=0.4, direction="up"))
        begun = time.monotonic()
        asking = asyncio.create_task(ask(proxy.base_url, proxy.road, requests()))
        await asyncio.wait_for(server.heard(1), 20)
        assert time.monotonic() - begun >= 0.4
        assert outcomes(await asking) == {Outcome.OK}


async def test_a_narrow_line_makes_an_answer_as_slow_as_its_bytes(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        await hold(proxy, order("network.bandwidth", rate=1000.0))
        (seen,) = await ask(proxy.base_url, proxy.road, requests())
    assert (seen.outcome, seen.answer) == (Outcome.OK, "AB")
    assert took_s(seen) >= 0.9 * len(stream(event("A"), event("B"))) / 1000


async def test_a_slow_start_delays_every_answers_first_byte_also_on_a_kept_connection(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        await hold(proxy, order("network.slow_start", delay=0.3))
        seen = await ask(proxy.base_url, proxy.road, requests(2, gap_s=1.0))
        assert [one.outcome for one in seen] == [Outcome.OK] * 2
        assert min(took_s(one) for one in seen) >= 0.3
        assert server.connections == 1


async def test_a_new_connection_is_slow_and_then_it_is_not(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        held = await hold(proxy, order("network.slow_connect", delay=1.0))
        first, second = await ask(proxy.base_url, proxy.road, requests(2, gap_s=3.0))
        assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.OK)
        assert first.first_ns is not None
        assert (first.first_ns - first.due_ns) / 1e9 >= 1.0 > took_s(second)  # connected before it was sent
        assert server.connections == 1
        held.task.cancel()


async def test_a_slow_connection_that_waits_when_the_fault_ends_waits_no_more(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        held = await hold(proxy, order("network.slow_connect", delay=60.0, for_s=1.0))
        (seen,) = await ask(proxy.base_url, proxy.road, requests(timeout_s=30.0))
        assert seen.outcome is Outcome.OK
        assert (await held.ended()).facts == {"connections": 1.0, "bytes": 0.0}


async def test_refused_connections_are_refused_open_ones_go_on_and_the_port_comes_back(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with behind(halting(begun, go_on), tmp_path) as (_, proxy):
        url = proxy.base_url
        asking = await halfway(proxy, begun)
        for _ in range(5):
            held = await hold(proxy, order("network.refuse"))
            assert outcomes(await ask(url, proxy.road, requests())) == {Outcome.REFUSED}
            await held.stop()
        go_on.set()
        assert outcomes(await asking) == {Outcome.OK}
        assert outcomes(await ask(url, proxy.road, requests(3))) == {Outcome.OK}


async def test_slices_are_put_together_by_the_client(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        held = await hold(proxy, order("network.slice", size=1, delay=0.001, direction="both"))
        seen = await ask(proxy.base_url, proxy.road, requests(2))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, "AB")] * 2
        await held.stop()


async def test_a_reset_strikes_while_the_server_is_at_its_prefill(tmp_path: Path) -> None:
    ends: list[str] = []

    async def script(turn: Turn) -> None:
        try:
            await turn.until_closed()
            ends.append("closed")
        except ConnectionResetError:
            ends.append("reset")

    async with behind(script, tmp_path) as (server, proxy):
        await hold(proxy, order("network.reset"))
        seen = await ask(proxy.base_url, proxy.road, requests(3))
        assert {(one.outcome, one.status, one.first_ns) for one in seen} == {(Outcome.RESET, None, None)}
        assert [turn.body for turn in server.turns] == [b'{"stream":true}'] * 3  # it had all of each request
    assert ends == ["reset"] * 3


async def test_a_reset_in_prefill_strikes_connections_that_wait_already(tmp_path: Path) -> None:
    async with behind(slow, tmp_path) as (server, proxy):
        asking = asyncio.create_task(ask(proxy.base_url, proxy.road, requests(3, gap_s=0.0)))
        await asyncio.wait_for(server.heard(3), 20)
        held = await hold(proxy, order("network.reset", hits=3))
        assert outcomes(await asking) == {Outcome.RESET}
        ended = await held.ended()
        assert (ended.why, ended.facts["connections"]) == ("so many were hit", 3.0)


async def test_an_idle_connection_is_no_answer_that_could_be_reset(tmp_path: Path) -> None:
    sound = stream(event("A"), event("B"))
    async with behind(fine, tmp_path) as (_, proxy), bare(proxy) as client:
        for _turn in range(2):
            await client.ask()
            await client.hear(sound)
            held = await hold(proxy, order("network.reset", for_s=0.2))
            assert (await held.ended()).facts["connections"] == 0.0


async def test_a_reset_in_mid_stream_takes_the_answers_that_are_under_way(tmp_path: Path) -> None:
    async with behind(halting(asyncio.Event(), asyncio.Event()), tmp_path) as (_, proxy), bare(proxy) as client:
        await client.ask()
        await client.hear(STREAM_HEAD + chunk(event("A")))
        held = await hold(proxy, order("network.reset", after=50, hits=1))
        with pytest.raises(ConnectionResetError):
            await client.hear_all()
        assert (await held.ended()).why == "so many were hit"


async def test_a_closed_answer_is_truncated_after_just_so_many_bytes(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        await hold(proxy, order("network.close", after=len(STREAM_HEAD) + len(chunk(event("A")))))
        seen = await ask(proxy.base_url, proxy.road, requests(2))
    assert [(one.outcome, one.answer) for one in seen] == [(Outcome.TRUNCATED, "A")] * 2


async def test_a_blackhole_is_a_timeout_and_what_it_held_comes_when_it_is_over(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with behind(halting(begun, go_on), tmp_path) as (_, proxy):
        asking = await halfway(proxy, begun)
        held = await hold(proxy, order("network.blackhole"))
        go_on.set()
        (lost,) = await ask(proxy.base_url, proxy.road, requests(timeout_s=0.5))
        assert lost.outcome is Outcome.TIMEOUT
        assert not asking.done()
        await held.stop()
        (seen,) = await asking
        assert (seen.outcome, seen.answer) == (Outcome.OK, "AB")


async def test_a_half_open_connection_is_reset_for_the_server_and_silence_for_the_client(tmp_path: Path) -> None:
    ends: list[str] = []

    async def script(turn: Turn) -> None:
        await turn.say(STREAM_HEAD, chunk(event("A")))
        begun.set()
        try:
            await turn.until_closed()
        except ConnectionResetError:
            ends.append("reset")

    begun = asyncio.Event()
    async with behind(script, tmp_path) as (_, proxy):
        asking = await halfway(proxy, begun, timeout_s=2.0)
        await hold(proxy, order("network.half_open"))
        (seen,) = await asking
        assert seen.outcome is Outcome.TIMEOUT
        assert ends == ["reset"]


async def test_a_half_open_connection_breaks_at_last_when_the_fault_ends(tmp_path: Path) -> None:
    async with behind(slow, tmp_path) as (_, proxy):
        await hold(proxy, order("network.half_open", for_s=0.5))
        assert outcomes(await ask(proxy.base_url, proxy.road, requests())) == {Outcome.RESET}


async def test_corrupted_answers_are_never_taken_for_answers(tmp_path: Path) -> None:
    async def long(turn: Turn) -> bool:
        await turn.say(stream(*(event(str(number)) for number in range(200))))
        return True

    async with behind(long, tmp_path) as (_, proxy):
        await hold(proxy, order("network.corrupt", per=20))
        seen = await ask(proxy.base_url, proxy.road, requests(5))
    assert Outcome.OK not in outcomes(seen)


async def test_several_faults_on_one_connection_add_up(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        size = len(stream(event("A"), event("B")))
        helds = [
            await hold(proxy, order("network.latency", number=1, delay=0.3)),
            await hold(proxy, order("network.slice", number=2, size=50, delay=0.1)),
            await hold(proxy, order("network.slow_start", number=3, delay=0.2)),
        ]
        (seen,) = await ask(proxy.base_url, proxy.road, requests())
        assert (seen.outcome, seen.answer) == (Outcome.OK, "AB")
        assert took_s(seen) >= 0.5 + (size // 50 - 1) * 0.1
        for held in helds:
            await held.stop()


async def test_a_fault_takes_its_share_of_the_connections_and_the_same_ones_for_the_same_seed(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        async with behind(slow, tmp_path) as (_, proxy):
            held = await hold(proxy, order("network.reset", share=0.5, seed=3))
            seen = await ask(proxy.base_url, proxy.road, requests(20, gap_s=0.05, timeout_s=1.5))
            assert outcomes(seen) == {Outcome.RESET, Outcome.TIMEOUT}
            drawn.append(sum(one.outcome is Outcome.RESET for one in seen))
            await held.stop()
    assert drawn[0] == drawn[1]


# ---- the faults of answers


async def test_requests_are_answered_in_the_targets_place_and_the_connection_is_kept(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        held = await hold(proxy, order("http.too_many", hits=2))
        seen = await ask(proxy.base_url, proxy.road, requests(4, gap_s=0.5))
        assert [one.outcome for one in seen] == [Outcome.SHED, Outcome.SHED, Outcome.OK, Outcome.OK]
        assert len(server.turns) == 2
        assert server.connections == 1
        ended = await held.ended()
        assert (ended.why, ended.facts) == ("so many were hit", {"requests": 2.0})


async def test_a_stream_is_changed_and_the_next_one_on_its_connection_is_not(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, proxy):
        await hold(proxy, order("stream.duplicate", hits=1, event=1))
        seen = await ask(proxy.base_url, proxy.road, requests(2, gap_s=0.5))
        assert [one.answer for one in seen] == ["AAB", "AB"]
        assert server.connections == 1


async def test_an_answer_that_is_under_way_is_not_changed_in_its_middle(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with behind(halting(begun, go_on), tmp_path) as (_, proxy):
        asking = await halfway(proxy, begun)
        held = await hold(proxy, order("stream.truncate", after=0))
        go_on.set()
        assert [(one.outcome, one.answer) for one in await asking] == [(Outcome.OK, "AB")]
        await held.stop()


async def test_a_stream_that_stands_still_goes_on_when_the_fault_ends(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        await hold(proxy, order("stream.stall", after=1, delay=60.0, for_s=0.5))
        (seen,) = await ask(proxy.base_url, proxy.road, requests())
    assert (seen.outcome, seen.answer) == (Outcome.OK, "AB")


async def test_faults_of_content_and_of_the_network_add_up(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        await hold(proxy, order("stream.bytewise", number=1))
        await hold(proxy, order("network.latency", number=2, delay=0.3))
        (seen,) = await ask(proxy.base_url, proxy.road, requests())
    assert (seen.outcome, seen.answer) == (Outcome.OK, "AB")
    assert took_s(seen) >= 0.3


# ---- how they end, and what is refused


async def test_a_fault_ends_by_itself_and_says_what_it_did(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        ended = await (await hold(proxy, order("network.latency", number=5, for_s=0.2))).ended()
        assert (ended.number, ended.why, ended.undone) == (5, "its time was over", True)
        assert ended.facts == {"connections": 0.0, "bytes": 0.0}


async def test_what_cannot_be_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        for one, why in (
            (order("network.tls_expired"), "needs a target at https"),
            (order("network.refuse", share=0.5), "leave out `share`"),
            (order("network.latency", for_s=0.0), "needs a length"),
            (order("engine.kill"), "no fault of the road"),
        ):
            with pytest.raises(FaultRefused, match=why):
                await hold(proxy, one)
        assert outcomes(await ask(proxy.base_url, proxy.road, requests())) == {Outcome.OK}


async def test_a_road_through_another_proxy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaultRefused, match="lies behind the proxy"):
        await ProxyInjector.start("http://127.0.0.1:9", Road(proxy="http://127.0.0.1:3128"), tmp_path, 1)


async def test_a_target_that_cannot_be_resolved_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be resolved"):
        await ProxyInjector.start("http://nowhere.invalid", DIRECT, tmp_path, 1)


async def test_a_proxy_that_dies_is_an_error_for_who_holds_a_fault(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (_, proxy):
        held = await hold(proxy, order("network.latency"))
        os.kill(proxy.pid, signal.SIGKILL)
        with pytest.raises(HarnessError, match="the fault proxy has died"):
            await held.ended()
        with pytest.raises(HarnessError, match="the fault proxy has died"):
            await hold(proxy, order("network.latency"))
