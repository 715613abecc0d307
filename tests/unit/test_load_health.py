"""A worker knows when it stood still, and by whose doing. Lower bounds only: a busy machine may add to each."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scenarios.load import health
from scenarios.load.health import BEAT_S, Health, SelfWatch
from scenarios.load.sockets import Sockets


@pytest.fixture
async def watch() -> AsyncIterator[SelfWatch]:
    watching = SelfWatch(asyncio.get_running_loop())
    yield watching
    watching.close()


async def test_a_loop_that_stands_still_is_seen_with_its_length_and_its_time(watch: SelfWatch) -> None:
    watch.start()
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # noqa: ASYNC251 - the stall itself
    await asyncio.sleep(0.05)
    watch.close()
    seen = watch.health()
    assert seen.longest_s >= 0.3 - BEAT_S
    assert 0.35 - BEAT_S <= seen.longest_at_s <= seen.wall_s
    assert watch.lag.stalled_s(0.2) >= 0.3 - BEAT_S
    assert watch.lag.n >= 2


async def test_a_beat_that_is_overdue_at_the_end_still_counts(watch: SelfWatch) -> None:
    watch.start()
    time.sleep(0.2)  # noqa: ASYNC251 - and the loop gets no turn before the end
    watch.close()
    assert watch.health().longest_s >= 0.2 - BEAT_S
    assert watch.lag.n == 1


async def test_the_collectors_pauses_are_counted_and_its_hook_is_taken_out_again(watch: SelfWatch) -> None:
    hooks = len(gc.callbacks)
    watch.start()
    gc.collect()
    gc.collect()
    watch.close()
    assert len(gc.callbacks) == hooks
    assert watch.health().gc_s >= watch.health().gc_longest_s > 0.0


async def test_before_its_start_there_is_nothing_and_after_its_end_nothing_is_added(watch: SelfWatch) -> None:
    assert watch.health() == Health()
    watch.start()
    watch.close()
    seen = watch.health()
    await asyncio.sleep(0.08)
    assert watch.health() == seen
    assert watch.lag.n == 1


async def test_where_the_kernel_tells_no_waiting_there_is_none(
    watch: SelfWatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(health, "_SCHEDSTAT", tmp_path / "absent")
    watch.start()
    watch.close()
    assert watch.health().run_wait_s is None


async def test_a_beat_waits_for_its_turn_behind_answers_that_came_before_it() -> None:
    sockets = Sockets(asyncio.get_running_loop())
    ends = [socket.socketpair() for _ in range(20)]
    for ours, theirs in ends:
        theirs.send(b"x")

        def read(ours: socket.socket = ours) -> None:
            time.sleep(0.01)
            ours.recv(1)

        sockets.watch(ours.fileno(), read)
    watching = SelfWatch(asyncio.get_running_loop(), sockets)
    watching.start()
    time.sleep(2 * BEAT_S)  # noqa: ASYNC251 - now the beat is due, behind twenty answers of 10 ms
    await asyncio.sleep(0.05)
    watching.close()
    assert watching.health().longest_s >= 0.15
    for ours, theirs in ends:
        sockets.forget(ours.fileno())
        ours.close()
        theirs.close()
    sockets.close()
