"""Requests that follow others, that are tried again and that carry a key of their own, through a real worker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scripted_server import ScriptedServer, Turn, answer, event, stream

from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest, Retry

MS = 1_000_000
FINE = stream(event("A"))
BUSY = answer("503 Busy", b"", "Retry-After: 0.3")


async def fine(turn: Turn) -> bool:
    await turn.say(FINE)
    return True


def ask(index: int, due_ms: float = 0.0, **own: Any) -> PlannedRequest:
    return PlannedRequest(index=index, due_ns=int(due_ms * MS), path="/", body=b"%d" % index, **own)


async def run(
    plan: Plan | Sequence[PlannedRequest], url: str, keys: Mapping[str, str] | None = None, **options: Any
) -> list[Observation]:
    pool = LoadPool(plan if isinstance(plan, Plan) else Plan.of(plan), url, keys, **options)
    try:
        await pool.prepare()
        pool.start(time.monotonic_ns() + 20 * MS)
        seen = [one async for batch in pool.batches() for one in batch.observations]
        assert pool.deaths == []
        assert pool.totals.done == pool.totals.planned == len(seen)
    finally:
        await pool.close()
    return sorted(seen, key=lambda one: one.index)


# ---- chains


async def test_the_next_turn_is_due_a_think_time_after_the_answer_and_its_own_lateness_counts_once() -> None:
    async def slow(turn: Turn) -> bool:
        await asyncio.sleep(0.2)
        return await fine(turn)

    chain = [ask(0), ask(1, after=0, think_s=0.1), ask(2, after=1), ask(3, 900.0, after=2)]
    async with ScriptedServer(slow) as server:
        seen = await run(chain, server.url)
    assert [turn.body for turn in server.turns] == [b"0", b"1", b"2", b"3"]
    assert seen[1].due_ns == seen[0].end_ns + 100 * MS
    assert seen[2].due_ns == seen[1].end_ns
    assert seen[3].due_ns == 900 * MS  # later than the end of the one before
    for one in seen:
        assert one.outcome is Outcome.OK
        assert one.sent_ns is not None
        assert one.first_ns is not None
        assert one.sent_ns >= one.due_ns
        assert one.first_ns - one.due_ns > 190 * MS


async def test_the_next_goes_whatever_came_of_the_one_before() -> None:
    async def broken(turn: Turn) -> None:
        if turn.body == b"0":
            turn.reset()
        elif turn.body == b"1":
            await turn.until_closed()
        else:
            await turn.say(FINE)

    chain = [ask(0), ask(1, after=0, timeout_s=0.2), ask(2, after=1, headers=(("a", "\r"),)), ask(3, after=2)]
    async with ScriptedServer(broken) as server:
        seen = await run(chain, server.url)
    assert [one.outcome for one in seen] == [Outcome.RESET, Outcome.TIMEOUT, Outcome.UNSENT, Outcome.OK]
    assert [one.due_ns for one in seen[1:]] == [one.end_ns for one in seen[:-1]]


async def test_several_may_follow_one() -> None:
    async with ScriptedServer(fine) as server:
        seen = await run([ask(0), ask(1, after=0), ask(2, after=0, think_s=0.05)], server.url)
    assert [one.due_ns - seen[0].end_ns for one in seen[1:]] == [0, 50 * MS]


async def test_those_who_still_wait_at_a_stop_are_unsent() -> None:
    async def hang(turn: Turn) -> None:
        await turn.until_closed()

    async with ScriptedServer(hang) as server:
        pool = LoadPool(Plan.of([ask(0), ask(1, after=0), ask(2, after=1), ask(3, 60_000.0)]), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        await server.heard(1)
        await pool.stop(0.05)
        seen = sorted([one async for batch in pool.batches() for one in batch.observations], key=lambda one: one.index)
        await pool.close()
    assert [one.outcome for one in seen] == [Outcome.CANCELLED] + [Outcome.UNSENT] * 3


async def test_a_closed_loop_runs_as_fast_as_its_answers() -> None:
    """Three users of 150 requests each, more than is handed out of one chain at once; nobody has two under way."""
    open_now: Counter[int] = Counter()

    async def counts(turn: Turn) -> bool:
        user = int(turn.body) % 3
        open_now[user] += 1
        assert open_now[user] == 1
        await turn.say(FINE)
        open_now[user] -= 1
        return True

    requests = [ask(index, after=index - 3 if index >= 3 else None) for index in range(450)]
    async with ScriptedServer(counts) as server:
        seen = await run(requests, server.url, workers=2)
    assert Counter(one.outcome for one in seen) == {Outcome.OK: 450}
    assert len({one.worker for one in seen}) == 2
    for one in seen:
        if one.index >= 3:
            assert one.due_ns == seen[one.index - 3].end_ns
            assert one.worker == seen[one.index - 3].worker


# ---- trying again


async def test_what_was_shed_is_tried_again_and_stays_one_request() -> None:
    async def busy_twice(turn: Turn) -> bool:
        await turn.say(BUSY if len(server.turns) < 3 else FINE)
        return True

    async with ScriptedServer(busy_twice) as server:
        (one,) = await run([ask(0, retry=Retry(attempts=5, wait_s=0.01))], server.url)
        assert len(server.turns) == 3
    assert (one.outcome, one.attempts, one.due_ns, one.retry_after_s) == (Outcome.OK, 3, 0, None)
    assert one.sent_ns is not None
    assert one.first_ns is not None
    assert one.sent_ns < 300 * MS  # of the first try
    assert one.first_ns > 600 * MS  # the server asked for 0.3 s twice


async def test_a_storm_does_not_wait_and_gives_up_after_its_tries() -> None:
    async def busy(turn: Turn) -> bool:
        await turn.say(BUSY)
        return True

    async with ScriptedServer(busy) as server:
        seen = await run([ask(0, retry=Retry(attempts=4)), ask(1, after=0)], server.url)
        assert Counter(turn.body for turn in server.turns) == {b"0": 4, b"1": 1}
    assert [(one.outcome, one.attempts) for one in seen] == [(Outcome.SHED, 4), (Outcome.SHED, 1)]
    assert seen[1].due_ns == seen[0].end_ns  # the last try's


async def test_a_herd_comes_back_at_the_same_moment() -> None:
    times: dict[bytes, list[float]] = {}

    async def down_at_first(turn: Turn) -> bool:
        times.setdefault(turn.body, []).append(time.monotonic())
        if len(times[turn.body]) > 1:
            await turn.say(FINE)
        return len(times[turn.body]) > 1

    retry = Retry(attempts=2, align_s=1.0)
    async with ScriptedServer(down_at_first) as server:
        seen = await run([ask(index, index * 50.0, retry=retry) for index in range(10)], server.url)
    assert {(one.outcome, one.attempts) for one in seen} == {(Outcome.OK, 2)}
    assert all(one.first_ns is not None and one.first_ns >= 1000 * MS for one in seen)
    first, second = ([both[at] for both in times.values()] for at in (0, 1))
    assert max(second) - min(second) < max(first) - min(first)


async def test_the_timeout_is_that_of_each_try() -> None:
    async def hangs_once(turn: Turn) -> bool:
        if len(server.turns) == 1:
            await turn.until_closed()
        await turn.say(FINE)
        return True

    async with ScriptedServer(hangs_once) as server:
        (one,) = await run([ask(0, timeout_s=0.4, retry=Retry(attempts=2, wait_s=0.3))], server.url)
    assert (one.outcome, one.attempts) == (Outcome.OK, 2)
    assert one.end_ns > 700 * MS


async def test_nobody_tries_again_after_a_stop() -> None:
    async def busy(turn: Turn) -> bool:
        await turn.say(answer("503 Busy"))
        return True

    async with ScriptedServer(busy) as server:
        pool = LoadPool(Plan.of([ask(0, retry=Retry(attempts=3, wait_s=60.0))]), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        await server.heard(1)
        reports = pool.batches()
        while not (await anext(reports)).totals.sent or pool.totals.in_flight:
            pass
        await pool.stop(5.0)
        (one,) = [one async for batch in reports for one in batch.observations]
        await pool.close()
        assert len(server.turns) == 1
    assert (one.outcome, one.attempts) == (Outcome.HTTP_5XX, 1)


# ---- keys


async def test_each_tenant_has_its_key_and_no_answer_shows_it() -> None:
    async def echoes(turn: Turn) -> bool:
        await turn.say(stream(event(turn.header("authorization") or "none")))
        return True

    keys = {"": "the-run-s-own-key", "blue": "the-key-of-blue", "red": "the-key-of-red"}
    tenants = ["", "blue", "red", "green"]
    async with ScriptedServer(echoes) as server:
        seen = await run([ask(index, tenant=name) for index, name in enumerate(tenants)], server.url, keys)
        heard = {turn.body: turn.header("authorization") for turn in server.turns}
    assert [heard[b"%d" % index] for index in range(4)] == [f"Bearer {keys.get(name, keys[''])}" for name in tenants]
    assert {one.answer for one in seen} == {"Bearer [api key]"}


# ---- the plan


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_the_same_is_sent_by_any_number_of_workers(workers: int) -> None:
    requests = [ask(index, index * 5.0, after=index - 3 if index % 10 >= 3 else None) for index in range(100)]
    async with ScriptedServer(fine) as server:
        seen = await run(requests, server.url, workers=workers)
        assert Counter(turn.body for turn in server.turns) == {b"%d" % index: 1 for index in range(100)}
    for one in seen:
        after = requests[one.index].after
        follows_ns = 0 if after is None else seen[after].end_ns
        assert one.due_ns == max(requests[one.index].due_ns, follows_ns)


async def test_a_plan_that_cannot_make_a_request_is_an_error_of_the_run_not_a_silence() -> None:
    def make(index: int) -> PlannedRequest:
        if index == 3:
            raise LookupError("row 4 of the trace is gone")
        return ask(index, due_ns[index] / MS)

    due_ns = np.array([0, 0, 0, 12_000]) * MS
    async with ScriptedServer(fine) as server:
        with pytest.raises(LookupError, match="row 4"):
            await run(Plan(due_ns, np.arange(4), make), server.url)


async def test_a_million_requests_are_handed_over_a_window_at_a_time() -> None:
    """Of a plan of a million the second half is due at once: only a window of it is made before anything is sent."""
    made = 0

    def make(index: int) -> PlannedRequest:
        nonlocal made
        made += 1
        return ask(index, 3600_000.0)

    count = 1_000_000
    plan = Plan(np.full(count, 3600_000 * MS), np.arange(count), make)
    pool = LoadPool(plan, "http://127.0.0.1:9")
    await pool.prepare()
    assert made == 0  # due in an hour
    pool.start(time.monotonic_ns() - 3595_000 * MS)
    reports = pool.batches()
    async with asyncio.timeout(20):
        while made < 16_384:
            await anext(reports)
    assert made == 16_384
    await pool.stop(0.0)
    seen: Counter[Outcome] = Counter()
    async for batch in reports:
        assert len(batch.observations) <= 1_000
        seen.update(one.outcome for one in batch.observations)
    await pool.close()
    assert seen == {Outcome.UNSENT: count}
