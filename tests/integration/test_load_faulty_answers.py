"""A correct client against every http.* and stream.* fault: one outcome each, the same text where it can be had."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from faulty_answers import CASES, CHUNKED, FORMS, TEXT, WORDS, Case
from scripted_server import Script, ScriptedServer, Turn

from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

TIMEOUT_S = 20.0
OK = Outcome.OK


def through(case: Case) -> Script:
    """Answer as the target would, through the fault, seven bytes at a time."""

    async def script(turn: Turn) -> bool:
        one = TRANSFORMS[case.kind](case.params)
        pieces = one.instead(turn.head)
        if pieces is None:
            pieces = [piece for at in range(0, len(case.raw), 7) for piece in one.feed(case.raw[at : at + 7])]
            pieces += one.end()
        for piece in pieces:
            if piece.wait_s:
                await asyncio.sleep(piece.wait_s)
            await turn.say(piece.data)
            if piece.close:
                return False
        return b"Connection: close" not in case.raw

    return script


async def sound(turn: Turn) -> bool:
    await turn.say(CHUNKED)
    return True


async def run_all() -> dict[str, tuple[Observation, Observation]]:
    """For each case what came of it, and of a request without a fault after it."""
    plan: list[PlannedRequest] = []
    for number, (name, case) in enumerate(CASES.items()):
        due_ns = number * 2_000_000
        plan.append(_request(2 * number, due_ns, name, stream=case.stream))
        plan.append(_request(2 * number + 1, due_ns, "sound", after=2 * number))
    async with ScriptedServer({"sound": sound, **{name: through(case) for name, case in CASES.items()}}) as server:
        pool = LoadPool(Plan.of(plan), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        seen = {one.index: one async for batch in pool.batches() for one in batch.observations}
        await pool.close()
        assert pool.deaths == []
    return {name: (seen[2 * number], seen[2 * number + 1]) for number, name in enumerate(CASES)}


def _request(index: int, due_ns: int, name: str, **own: Any) -> PlannedRequest:
    return PlannedRequest(index=index, due_ns=due_ns, path=f"/v1/{name}", body=b"{}", timeout_s=TIMEOUT_S, **own)


@pytest.fixture(scope="module")
def observed() -> dict[str, tuple[Observation, Observation]]:
    return asyncio.run(run_all())


Observed = dict[str, tuple[Observation, Observation]]


def test_every_kind_is_tried() -> None:
    assert {case.kind for case in CASES.values()} == set(TRANSFORMS)


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_outcome_and_leaves_the_text_that_can_be_had(observed: Observed, name: str) -> None:
    case, (one, after) = CASES[name], observed[name]
    assert (one.outcome, one.status, one.begun) == (case.outcome, case.status, 1), one
    assert case.text is None or one.answer == case.text, one
    assert (one.error == "") == (case.outcome is OK), one
    assert (after.outcome, after.answer) == (OK, TEXT), "the fault reached the next request"


def test_what_comes_after_a_stall_comes_that_much_later(observed: Observed) -> None:
    for form in FORMS:
        one = observed[f"stream.stall-{form}"][0]
        assert one.event_ns[2] - one.due_ns >= 250_000_000, form
        assert one.event_ns[1] < one.event_ns[2]


def test_events_that_came_together_have_one_time(observed: Observed) -> None:
    times = observed["stream.coalesce-chunked"][0].event_ns
    assert (times[0], times[2]) == (times[1], times[3])  # the first of three events has no text


def test_a_429_says_how_long_to_wait(observed: Observed) -> None:
    assert observed["too-many"][0].retry_after_s == 2.0


def test_an_event_too_many_shows_only_beside_the_usage(observed: Observed) -> None:
    """No client can tell a doubled event from a word said twice; events beyond the usage are a hint, no proof."""
    one = observed["duplicated-chunked"][0]
    assert one.completion_tokens == len(WORDS) < len(one.event_ns)


def test_a_fault_leaves_the_fingerprint(observed: Observed) -> None:
    for form in FORMS:
        assert observed[f"stream.split_character-{form}"][0].fingerprint == "m fp"
    assert observed["an-error-in-200-for-json"][0].fingerprint == ""
