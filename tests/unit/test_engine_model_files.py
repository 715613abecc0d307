"""The files of a model are waited for where they were whole once; how often a death may come."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.config import DEMO_MODEL, EngineConfig
from engine.model_files import ModelFiles
from engine.restarts import LONGEST_PAUSE_S, RestartBudget


def never() -> bool:
    return False


async def test_whole_files_are_not_waited_for() -> None:
    said: list[str] = []
    assert not await ModelFiles(EngineConfig(DEMO_MODEL)).whole(said.append, never)
    assert said == []


async def test_a_file_that_is_cut_off_and_then_missing_is_waited_for_and_told_once(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    whole = DEMO_MODEL.read_bytes()
    model.write_bytes(whole)
    files = ModelFiles(EngineConfig(model))
    said: list[str] = []
    assert not await files.whole(said.append, never)
    model.write_bytes(whole[:100_000])
    waiting = asyncio.create_task(files.whole(said.append, never))
    async with asyncio.timeout(20):
        while not said:  # noqa: ASYNC110  # told from within
            await asyncio.sleep(0.01)
    model.unlink()
    await asyncio.sleep(0.3)
    assert not waiting.done()
    model.write_bytes(whole)
    assert await asyncio.wait_for(waiting, 20)
    assert len(said) == 1
    assert "ends at byte 100,000" in said[0] or "not complete" in said[0]


async def test_files_that_were_never_whole_are_left_to_what_loads_them(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    files = ModelFiles(EngineConfig(model))
    assert not await files.whole(lambda _: None, never)
    model.unlink()
    assert not await files.whole(lambda _: None, never)


async def test_a_wait_ends_when_the_engine_is_stopped(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(DEMO_MODEL.read_bytes())
    files = ModelFiles(EngineConfig(model))
    await files.whole(lambda _: None, never)
    model.unlink()
    told: list[str] = []
    assert await files.whole(told.append, lambda: bool(told))


def test_without_a_limit_it_is_never_given_up_and_the_pause_stays_short() -> None:
    budget = RestartBudget(limit=0, window_s=60)
    pauses = [budget.after_death(now / 100) for now in range(5000)]
    assert None not in pauses
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert set(pauses[4:]) == {LONGEST_PAUSE_S}
