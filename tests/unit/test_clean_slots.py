"""Before each fault of a matrix a target of ours is fit again: what is down or hangs is started anew, and only that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from scenarios.definition import Matrix
from scenarios.errors import TargetError
from scenarios.runner.clean_slots import CleanSlots
from scenarios.tick import EngineSample, Quantiles, Tick

MATRIX = Matrix(kinds=("engine.kill", "engine.stop", "engine.term"), slot_s=0.02, lead_s=0.002, length_s=0.002)


class Target:
    def __init__(self, owned: bool = True, lost: bool = False) -> None:
        self.owned = owned
        self.restored = 0
        self._lost = lost

    async def restore(self) -> None:
        if self._lost:
            raise TargetError("its file is gone")
        self.restored += 1


def tick(t_s: float, done: int, in_flight: int = 0, state: str = "ready") -> Tick:
    nothing = Quantiles()
    return Tick(
        t_s=t_s, state="running", duration_s=9.0, planned=99, due=9, sent=9, in_flight=in_flight, done=done,
        outcomes={}, due_rate=0.0, done_rate=0.0, tokens=0, token_rate=0.0, ttft=nothing, itl=nothing,
        ttft_all=nothing, engine=EngineSample(state=state),
    )  # fmt: skip


async def followed(target: Target, ticks: Sequence[Tick]) -> list[tuple[str, str]]:
    """What was said of a run that stands at its start, with these ticks seen."""
    said: list[tuple[str, str]] = []
    slots = CleanSlots(MATRIX, target, lambda: 0.0, lambda kind, text: said.append((kind, text)))
    for one in ticks:
        slots.see(one)
    await asyncio.wait_for(slots.follow(), 10.0)
    return said


@pytest.mark.parametrize(
    ("ticks", "why"),
    [
        ((tick(1.0, 5), tick(1.01, 5, state="restarting")), "the target was restarting"),
        ((tick(1.0, 5, 3), tick(1.01, 5, 4)), "4 requests were under way"),
    ],
)
async def test_a_target_that_is_down_or_hangs_is_started_anew_before_each_of_the_next_faults(
    ticks: Sequence[Tick], why: str
) -> None:
    target = Target()
    said = await followed(target, ticks)
    assert target.restored == 2  # three slots have two ends between them
    assert [kind for kind, _ in said] == ["target.restored", "target.restored"]
    assert all(why in text for _, text in said)


@pytest.mark.parametrize(
    ("target", "ticks"),
    [
        (Target(), (tick(1.0, 5, 3), tick(1.01, 6, 4))),  # answers come
        (Target(), (tick(1.0, 5), tick(1.01, 5))),  # nothing is asked
        (Target(), ()),
        (Target(owned=False), (tick(1.0, 5, 3, "external"), tick(1.01, 5, 4, "external"))),
    ],
)
async def test_a_target_that_answers_or_is_not_ours_is_left_alone(target: Target, ticks: Sequence[Tick]) -> None:
    assert await followed(target, ticks) == []
    assert target.restored == 0


async def test_a_target_that_cannot_be_started_anew_is_said_to_be_lost_and_the_run_goes_on() -> None:
    said = await followed(Target(lost=True), (tick(1.0, 5, state="dead"),))
    assert {kind for kind, _ in said} == {"target.lost"}
    assert "its file is gone" in said[0][1]
