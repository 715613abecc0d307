"""The embedded engine under every fault of its processes and files: it serves again once the fault is over."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from engine_fixtures import Answering, client_of, eventually, needs_model
from held_faults import order_of

from engine.config import DEMO_MODEL
from engine.supervisor import EngineEvent
from scenarios.address import DIRECT
from scenarios.faults.holder import HolderInjector, Subject
from scenarios.faults.injector import Ended
from scenarios.runner.options import RunOptions
from scenarios.runner.target import EmbeddedTarget
from scenarios.scenario_file import find_scenario

pytestmark = needs_model
BACK_WITHIN_S = 30.0  # the aim is its load time and one second; the rest is for a machine that has other work


class Trial(Answering):
    """The engine as a run has it, who disturbs it, and its events so far."""

    def __init__(
        self, target: EmbeddedTarget, injector: HolderInjector, client: httpx.AsyncClient, events: list[EngineEvent]
    ) -> None:
        super().__init__(target.base_url, client)
        self.target, self.injector, self.events = target, injector, events
        self._number = 0

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def fingerprint(self) -> str:
        return str((await self.chat(max_tokens=1)).json()["system_fingerprint"])

    async def begun(self, kind: str, for_s: float = 60.0, **params: float | str) -> asyncio.Task[Ended]:
        """The fault, once it is in force."""
        self._number += 1
        on = asyncio.Event()
        order = order_of(kind, self._number, for_s, **params)
        holding = asyncio.create_task(self.injector.hold(order, on.set))
        await asyncio.wait_for(on.wait(), 60)
        return holding

    async def ended(self, holding: asyncio.Task[Ended]) -> None:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

    async def back(self) -> None:
        await eventually(self.answers, "it serves again", within_s=BACK_WITHIN_S)

    async def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return (await self.chat(max_tokens=1)).status_code == 200
        return False


@asynccontextmanager
async def trial(folder: Path) -> AsyncIterator[Trial]:
    events: list[EngineEvent] = []
    target = EmbeddedTarget(RunOptions(find_scenario("peak-traffic"), 1, folder, "run"), events.append)
    await target.start()
    try:
        subject = Subject(
            url=target.base_url,
            road=DIRECT,
            model=None,
            key_env=None,
            journal=folder / "run" / "journal.db",
            runner_pid=os.getpid(),
            model_link=target.model_link,
            pids=target.processes,
        )
        injector = await HolderInjector.start(subject)
        try:
            async with client_of(target.base_url) as client:
                yield Trial(target, injector, client, events)
        finally:
            await injector.close()
    finally:
        await target.stop()


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("engine.kill", {"part": "all"}),
        ("engine.kill", {"part": "api"}),
        ("engine.kill", {"part": "decode"}),
        ("engine.term", {"part": "all"}),
        ("engine.cold_start", {}),
        ("engine.stop", {"part": "all"}),
        ("engine.files", {"spare": 0}),
        ("engine.port_taken", {}),
        ("host.pause", {}),
        ("engine.model_missing", {}),
        ("engine.model_truncated", {}),
    ],
)
async def test_it_serves_again_and_is_the_same(kind: str, params: dict[str, float | str], tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        before = await one.fingerprint()
        over = await (await one.begun(kind, for_s=0.5, **params))
        assert over.undone
        await one.back()
        assert await one.fingerprint() == before
        assert "gave_up" not in one.kinds


@pytest.mark.parametrize("part", ["all", "api", "decode"])
async def test_one_that_is_stopped_for_long_is_replaced_and_what_is_new_is_left_alone(
    part: str, tmp_path: Path
) -> None:
    async with trial(tmp_path) as one:
        holding = await one.begun("engine.stop", part=part)

        async def replaced() -> bool:
            return "hung" in one.kinds and await one.healthy()

        await eventually(replaced, "it is replaced under the fault", within_s=BACK_WITHIN_S)
        pids = one.target.processes()
        await one.ended(holding)
        assert (await one.chat(max_tokens=1)).status_code == 200
        assert one.target.processes() == pids


async def test_it_is_not_given_up_however_often_it_is_killed(tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        holding = await one.begun("engine.restart_loop", every=0.1)

        async def killed_often() -> bool:
            return one.kinds.count("died") > 8

        await eventually(killed_often, "it died more often than an engine may that is not killed", within_s=60)
        await one.ended(holding)
        await one.back()
        assert "gave_up" not in one.kinds


@pytest.mark.parametrize("part", ["all", "decode"])
async def test_a_model_that_is_missing_for_long_costs_no_death_and_is_waited_for(part: str, tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        link = one.target.model_link
        assert link is not None
        model = link.readlink()
        link.unlink()
        await one.begun("engine.kill", part=part)

        async def waits() -> bool:
            return "waiting" in one.kinds

        await eventually(waits, "it says that it waits")
        await asyncio.sleep(1.0)  # longer than many starts in vain would take
        (said,) = [event.detail for event in one.events if event.kind == "waiting"]
        assert str(link) in said
        assert one.kinds.count("died") <= 2  # with both parts killed, each may be told
        link.symlink_to(model)
        await one.back()


@pytest.mark.parametrize("part", ["all", "decode"])
async def test_another_model_has_another_fingerprint_and_is_gone_with_the_fault(part: str, tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        before = await one.fingerprint()
        text = (await one.chat()).json()["choices"][0]["message"]["content"]
        holding = await one.begun("engine.model_swapped")
        if part == "decode":
            await one.back()
            await (await one.begun("engine.kill", part="decode"))

        async def other() -> bool:
            return await one.answers() and await one.fingerprint() != before

        await eventually(other, "another model answers", within_s=BACK_WITHIN_S)
        assert (await one.chat()).json()["choices"][0]["message"]["content"] != text
        await one.ended(holding)

        async def same() -> bool:
            return await one.answers() and await one.fingerprint() == before

        await eventually(same, "the model answers again", within_s=BACK_WITHIN_S)
        assert (await one.chat()).json()["choices"][0]["message"]["content"] == text


async def test_with_no_descriptor_left_a_new_client_is_turned_away_at_once_and_an_old_one_is_served(
    tmp_path: Path,
) -> None:
    async with trial(tmp_path) as one:
        assert (await one.chat(max_tokens=1)).status_code == 200  # its connection stays open
        holding = await one.begun("engine.files", spare=0)
        started = time.monotonic()
        async with client_of(one.url) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get("/health")
        assert time.monotonic() - started < 30
        assert (await one.chat(max_tokens=1)).status_code == 200
        await one.ended(holding)
        async with client_of(one.url) as stranger:
            assert (await stranger.get("/health")).status_code == 200


async def test_a_target_of_ours_is_brought_back_from_wherever_it_is_stuck(tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        link = one.target.model_link
        assert link is not None
        link.unlink()
        await one.begun("engine.kill")
        await one.target.restore()
        assert (await one.chat(max_tokens=1)).status_code == 200
        before = one.target.processes()
        await one.target.restore()
        assert (await one.chat(max_tokens=1)).status_code == 200
        assert set(before.values()).isdisjoint(one.target.processes().values())


async def test_a_run_leaves_no_link_to_the_model_behind(tmp_path: Path) -> None:
    async with trial(tmp_path) as one:
        link = one.target.model_link
        assert link is not None
        assert link.resolve() == DEMO_MODEL
        assert one.target.model == DEMO_MODEL.stem
    assert not link.parent.exists()
    assert DEMO_MODEL.is_file()
