"""The schedule hands every job over exactly once or gives it back, and never early."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scenarios.load import schedule as schedule_module
from scenarios.load.chains import Chains
from scenarios.load.exchange import Job
from scenarios.load.schedule import Schedule

MS = 1_000_000


def job(index: int, due_ns: int, after: int | None = None, think_ns: int = 0) -> Job:
    return Job(index, due_ns, b"", 1.0, True, False, False, True, after=after, think_ns=think_ns, followed=True)


async def test_a_schedule_hands_over_everything_in_due_order_and_never_early() -> None:
    handed: list[tuple[int, int]] = []
    finished = asyncio.Event()

    def send(one: Job, due_ns: int) -> None:
        handed.append((one.index, time.monotonic_ns() - due_ns))
        if len(handed) == 300:
            finished.set()

    schedule = Schedule(send)
    for index in range(300):
        due_ns = (index % 100) * MS // 2
        schedule.add(job(index, due_ns), due_ns)
    schedule.start(time.monotonic_ns() + 5 * MS)
    async with asyncio.timeout(5):
        await finished.wait()
    assert [index for index, _ in handed] == sorted(range(300), key=lambda index: (index % 100, index))
    assert all(late_ns >= 0 for _, late_ns in handed)
    assert schedule.stop() == []


async def test_a_job_that_comes_late_goes_at_once_and_before_the_later_ones() -> None:
    handed: asyncio.Queue[int] = asyncio.Queue()
    schedule = Schedule(lambda one, due_ns: handed.put_nowait(one.index))
    schedule.add(job(0, 60_000 * MS), 60_000 * MS)
    schedule.start(time.monotonic_ns() - 1000 * MS)
    schedule.add(job(1, 0), 0)
    async with asyncio.timeout(5):
        assert await handed.get() == 1
    assert [one.index for one in schedule.stop()] == [0]


class Clock:
    """A monotonic clock and an alarm that ring when the test says so."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.rings_ns: int | None = None
        self.ring: Callable[[], None] = lambda: None

    def monotonic_ns(self) -> int:
        return self.now_ns

    def alarm(self, loop: object, ring: Callable[[], None], sockets: object) -> Clock:
        self.ring = ring
        return self

    def set(self, when_ns: int) -> None:
        self.rings_ns = when_ns

    def close(self) -> None:
        self.rings_ns = None

    def advance(self, by_ns: int) -> None:
        self.now_ns += by_ns
        while self.rings_ns is not None and self.rings_ns <= self.now_ns:
            self.rings_ns = None
            self.ring()


class Sending(RuleBasedStateMachine):
    """Jobs, some of them following others, go through chains and schedule as in a worker, in any order of events."""

    @initialize(t0_ns=st.integers(1, 1000))
    def begin(self, t0_ns: int) -> None:
        self.clock = Clock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schedule_module, "alarm", self.clock.alarm)
            patch.setattr(asyncio, "get_running_loop", lambda: None)
            self.schedule = Schedule(self.handed_over)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(schedule_module, "time", self.clock)
        self.chains = Chains(1000)
        self.t0_ns = t0_ns
        self.jobs: list[Job] = []
        self.handed: list[int] = []
        self.ended_ns: dict[int, int] = {}
        self.started = self.stopped = False
        self.returned: list[int] = []

    def handed_over(self, one: Job, due_ns: int) -> None:
        assert self.clock.now_ns >= due_ns >= self.t0_ns + one.due_ns
        if one.after is not None:
            assert due_ns == self.t0_ns + max(one.due_ns, self.ended_ns[one.after] + one.think_ns)
        self.handed.append(one.index)

    def schedule_if_due(self, one: Job) -> None:
        if (due_ns := self.chains.due_ns(one)) is not None:
            self.schedule.add(one, due_ns)

    @precondition(lambda self: not self.stopped)
    @rule(due_ns=st.integers(0, 200), after=st.floats(0, 1), think_ns=st.integers(0, 100), chained=st.booleans())
    def add(self, due_ns: int, after: float, think_ns: int, chained: bool) -> None:
        before = int(after * (len(self.jobs) - 1)) if chained and self.jobs else None
        one = job(len(self.jobs), due_ns, before, think_ns)
        self.jobs.append(one)
        self.schedule_if_due(one)

    @precondition(lambda self: not self.started and not self.stopped)
    @rule()
    def start(self) -> None:
        self.started = True
        self.schedule.start(self.t0_ns)

    @rule(by_ns=st.integers(0, 150))
    def time_goes_by(self, by_ns: int) -> None:
        self.clock.advance(by_ns)

    @precondition(lambda self: self.started and not self.stopped and len(self.handed) > len(self.ended_ns))
    @rule(which=st.floats(0, 1))
    def one_ends(self, which: float) -> None:
        under_way = [index for index in self.handed if index not in self.ended_ns]
        index = under_way[int(which * (len(under_way) - 1))]
        self.ended_ns[index] = max(1, self.clock.now_ns - self.t0_ns)
        for one, due_ns in self.chains.over(index, self.ended_ns[index]):
            self.schedule.add(one, due_ns)

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        waiting = len(self.chains)
        self.chains.stop()
        self.returned = [one.index for one in self.schedule.stop()]
        assert len(self.handed) + len(self.returned) + waiting == len(self.jobs)

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        if not hasattr(self, "schedule"):
            return
        assert len(set(self.handed)) == len(self.handed)
        assert not set(self.handed) & set(self.returned)
        if not self.stopped:
            assert len(self.handed) + len(self.schedule) + len(self.chains) == len(self.jobs)
        if self.started and not self.stopped:
            # what is due has gone: nothing is left behind by an alarm set too late
            for one in self.jobs:
                if one.index not in self.handed and one.after is None:
                    assert self.t0_ns + one.due_ns > self.clock.now_ns or self.clock.rings_ns is not None

    def teardown(self) -> None:
        if not hasattr(self, "schedule"):
            return
        if self.started and not self.stopped:
            while len(self.handed) < len(self.jobs):  # all end in the end
                self.clock.advance(1000)
                while len(self.handed) > len(self.ended_ns):
                    self.one_ends(0.0)
        self.patch.undo()


Sending.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestSending = Sending.TestCase
