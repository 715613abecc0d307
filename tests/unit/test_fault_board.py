"""A fault has a start and an end in the journal, or is refused with a reason; it is never left open."""

from __future__ import annotations

import asyncio

import pytest

from scenarios.definition import FaultSpec
from scenarios.faults import engine_kill
from scenarios.runner.fault_board import FaultBoard
from scenarios.tick import EngineSample

KILL = FaultSpec("engine.kill", 0.0)
Told = list[tuple[str, str, float | None]]


class Engine:
    """A target whose death and return the test decides."""

    base_url = describe = model = ""
    wire_model: str | None = None

    def __init__(self, owned: bool = True) -> None:
        self.owned = owned
        self.up = True
        self.deaths = 0
        self.killed = asyncio.Event()
        self.back = asyncio.Event()

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def sample(self) -> EngineSample:
        return EngineSample()

    def runs(self, part: str) -> bool:
        return self.up

    def kill(self, part: str) -> None:
        self.up = False
        self.deaths += 1
        self.killed.set()

    async def serving_again(self, deaths: int) -> None:
        await self.back.wait()


def board(engine: Engine) -> tuple[FaultBoard, Told]:
    told: Told = []
    return FaultBoard(engine, lambda: 4.0, lambda *event: told.append(event)), told


async def begun(engine: Engine, faults: FaultBoard) -> asyncio.Task[None]:
    """A fault whose kill has happened and whose engine is not back."""
    task = asyncio.create_task(faults.inject(KILL))
    await engine.killed.wait()
    return task


async def test_a_fault_is_active_from_its_start_to_its_end() -> None:
    engine = Engine()
    faults, told = board(engine)
    task = await begun(engine, faults)
    assert [one.kind for one in faults.active] == ["engine.kill"]
    engine.back.set()
    await task
    assert faults.active == ()
    assert told == [("fault.start", "engine.kill", None), ("fault.end", "engine.kill", 0.0)]


async def test_a_run_that_ends_first_ends_the_fault() -> None:
    engine = Engine()
    faults, told = board(engine)
    task = await begun(engine, faults)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert faults.active == ()
    assert told[-1] == ("fault.end", "engine.kill", None)


async def test_an_engine_that_never_comes_back_ends_the_fault_without_a_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_kill, "RECOVERY_LIMIT_S", 0.0)
    faults, told = board(Engine())
    await faults.inject(KILL)
    assert told[-1] == ("fault.end", "engine.kill", None)
    assert faults.active == ()


async def test_what_cannot_be_killed_is_refused_and_not_counted_as_a_fault() -> None:
    down = Engine()
    down.up = False  # between a death and the restart: a second kill would wait for a death that never comes
    for engine, reason in ((Engine(owned=False), "only the embedded engine"), (down, "nothing of the engine")):
        faults, told = board(engine)
        await faults.inject(KILL)
        ((kind, text, _),) = told
        assert kind == "fault.refused"
        assert reason in text
        assert engine.deaths == 0
