"""The link to the decode process, with a stand-in for it: requests, questions, silence, death and a new start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from engine_stand_ins import Peer, until
from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.api import link as link_module
from engine.api.child import DecodeChild
from engine.api.link import DecodeLink, LinkState
from engine.api.metrics import Metrics
from engine.config import EngineConfig
from engine.errors import Overloaded, Unavailable
from engine.silence import WORKING_PATIENCE, Silence, judge, limit_s

Said = list[tuple[str, str]]


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    return EngineConfig(model=model, slots=1, queue_limit=1, max_deaths=3, start_timeout_s=30.0, hang_timeout_s=30.0)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[Peer]:
    """Each decode process that was started again."""
    started: list[Peer] = []

    def spawn(config: EngineConfig) -> DecodeChild:
        started.append(Peer())
        started[-1].hello()
        return started[-1].child

    monkeypatch.setattr(link_module, "spawn_decode", spawn)
    return started


@asynccontextmanager
async def linked(config: EngineConfig, said: Said | None = None) -> AsyncIterator[tuple[DecodeLink, Peer]]:
    """A link whose decode process is ready."""
    peer = Peer()
    said = [] if said is None else said
    link = DecodeLink(config, peer.child, Metrics(), lambda kind, detail: said.append((kind, detail)))
    peer.hello()
    assert await link.start() == ""
    try:
        yield link, peer
    finally:
        peer.die()
        await link.close()


def submit(id: int) -> wire.Submit:
    return wire.Submit(id, [wire.Segment("hi", scaffold=False)], 5, wire.Sampling(), [])


def embed(id: int) -> wire.Embed:
    return wire.Embed(id, [wire.Segment("hi", scaffold=False)])


def detokenize(id: int) -> wire.Detokenize:
    return wire.Detokenize(id, [1, 2])


async def test_a_request_carries_its_key_and_deadline_and_its_outputs_the_time_of_their_step(
    config: EngineConfig,
) -> None:
    async with linked(config) as (link, peer):
        ticket = link.submit(submit, 1_000, key="k", deadline_ns=77)
        sent = await peer.heard(wire.Submit)
        assert (sent.id, sent.key, sent.deadline_ns) == (ticket.id, "k", 77)
        end = wire.Output(ticket.id, "x", 1, finish="stop")
        peer.step(end, admitted=(wire.Admitted(ticket.id, 5_000, 9, 4),), t_ns=8_000)
        await until(lambda: ticket.finished)
        assert [(arrival.t_ns, arrival.output) for arrival in ticket.take()] == [(8_000, end)]
        assert (ticket.prompt_tokens, ticket.cached_tokens) == (9, 4)
        link.close_ticket(ticket)
        await link.drained()
        assert not peer.commands  # what has finished is not cancelled


async def test_a_request_given_up_is_cancelled_and_its_place_is_free_when_that_is_confirmed(
    config: EngineConfig,
) -> None:
    async with linked(config) as (link, peer):
        tickets = [link.submit(submit, 0) for _ in range(2)]
        for ticket in tickets:
            link.close_ticket(ticket)
        with pytest.raises(Overloaded):
            link.submit(submit, 0)
        await peer.heard(wire.Submit)
        await peer.heard(wire.Submit)
        cancelled = await peer.heard(wire.Cancel)
        peer.step(wire.Output(cancelled.id, "", 0, finish="cancelled"))
        await until(lambda: len(link.tickets.leaving) == 1)
        link.submit(submit, 0)


async def test_questions_get_their_own_answers_in_any_order(config: EngineConfig) -> None:
    async with linked(config) as (link, peer):
        vector = asyncio.create_task(link.ask(embed, 0, key="k"))
        text = asyncio.create_task(link.ask(detokenize, 0))
        first, second = await peer.heard(wire.Embed), await peer.heard(wire.Detokenize)
        assert first.key == "k"
        peer.say(wire.Tokens(second.id, [1, 2], [b"a", b"b"]), wire.Vector(first.id, b"....", 3))
        assert isinstance(await vector, wire.Vector)
        assert await text == wire.Tokens(second.id, [1, 2], [b"a", b"b"])
        await link.drained()


async def test_an_asker_that_leaves_cancels_a_vector_and_no_tokens(config: EngineConfig) -> None:
    async with linked(config) as (link, peer):
        for ask in (detokenize, embed):
            asking = asyncio.create_task(link.ask(ask, 0))
            await peer.heard(wire.Embed if ask is embed else wire.Detokenize)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        cancelled = await peer.heard(wire.Cancel)
        assert len(link.asks) == 2
        peer.step(wire.Output(cancelled.id, "", 0, finish="cancelled"))
        peer.say(wire.Tokens(cancelled.id - 1, [], []))
        await until(lambda: not len(link.asks))


async def test_a_death_ends_requests_and_questions_and_the_next_process_answers(
    config: EngineConfig, peers: list[Peer]
) -> None:
    said: Said = []
    async with linked(config, said) as (link, peer):
        ticket = link.submit(submit, 0)
        asking = asyncio.create_task(link.ask(embed, 0))
        await peer.heard(wire.Submit)
        await peer.heard(wire.Embed)
        left = link.submit(submit, 0)
        link.close_ticket(left)
        peer.die()
        with pytest.raises(Unavailable, match="died"):
            await asking
        assert [arrival.output.finish for arrival in ticket.take()] == ["unavailable"]
        assert link.pid == 0
        with pytest.raises(Unavailable, match="being restarted"):
            link.submit(submit, 0)
        with pytest.raises(Unavailable, match="being restarted"):
            await link.ask(embed, 0)
        await until(lambda: link.state is LinkState.READY)
        assert [kind for kind, _ in said] == ["died", "restarting", "spawned", "recovered"]
        link.submit(submit, 0)
        link.submit(submit, 0)
        assert (await peers[0].heard(wire.Submit)).id == left.id + 1
        peers[0].die()


async def test_a_decode_process_that_cannot_be_started_again_is_tried_again_and_then_given_up(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(config: EngineConfig) -> DecodeChild:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(link_module, "spawn_decode", full)
    said: Said = []
    async with linked(config, said) as (link, peer):
        peer.die()
        await until(lambda: link.state is LinkState.GAVE_UP)
        assert "cannot be started: Resource temporarily unavailable" in link.detail
        assert [kind for kind, _ in said] == ["died", "restarting", "died", "restarting", "died", "gave_up"]


async def test_a_process_that_is_slow_to_die_is_hung_once(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "WATCH_S", 0.01)
    said: Said = []
    async with linked(replace(config, hang_timeout_s=0.5), said) as (link, peer):
        await until(lambda: peer.process.kills)
        await asyncio.sleep(0.2)  # twenty more looks
        assert peer.process.kills == 1
        assert [kind for kind, _ in said] == ["stalled", "hung"]
        assert link.state is LinkState.STALLED


async def test_a_silent_process_that_computes_is_not_killed_at_the_limit(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "WATCH_S", 0.01)
    seconds = iter(range(1_000_000))
    monkeypatch.setattr(DecodeChild, "cpu_s", lambda child: float(next(seconds)))
    said: Said = []
    async with linked(replace(config, hang_timeout_s=0.5), said) as (link, peer):
        await until(lambda: link.silent_s > 0.8)
        assert not peer.process.kills
        peer.step()
        await until(lambda: link.state is LinkState.READY)
        assert [kind for kind, _ in said] == ["stalled", "recovered"]


silences = st.floats(0, 1000)


@given(silences, st.floats(0.5, 100), st.floats(0, 2))
def test_silence_is_a_stall_before_it_is_a_hang_and_longer_silence_is_never_better(
    silent_s: float, limit: float, share: float
) -> None:
    order: Callable[[Silence], int] = list(Silence).index
    heard = judge(silent_s, limit, share)
    assert order(judge(silent_s * 1.5, limit, share)) >= order(heard)
    assert order(judge(silent_s, limit, 0.0)) >= order(heard)
    assert (heard is Silence.NORMAL) == (silent_s <= limit / 2)
    if silent_s > limit * WORKING_PATIENCE:
        assert heard is Silence.HUNG


def test_a_model_with_slow_steps_may_be_silent_for_longer() -> None:
    assert limit_s(3.0, 0.05) == 3.0
    assert limit_s(3.0, 2.0) == 16.0
