"""Every fault has a number, a start and an end in the journal, or a reason why not; none outlives the run."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping

import pytest

from scenarios.definition import Blast, Condition, FaultSpec
from scenarios.faults.injector import FaultRefused, Injector
from scenarios.faults.kinds import Via
from scenarios.faults.possible import Setting
from scenarios.runner import fault_board, held_fault
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.fault_rules import FaultRules
from scenarios.tick import Event, FaultMark, Quantiles, Tick
from tests.fault_stand_ins import StandIn

KILL = FaultSpec("engine.kill", 0.0, params=(("part", "all"),))
SLOW = FaultSpec("network.latency", 0.0, for_s=60.0, params=(("delay", 0.2), ("jitter", 0.0), ("direction", "down")))
BRIEF = FaultSpec("network.refuse", 0.0, for_s=0.01)
HERE, THERE = Setting(), Setting(target="http://example.org:8000")
PIDS = Setting(target="http://127.0.0.1:1", has_pid=True)


class Engine:
    """A target of ours whose return the test decides."""

    def __init__(self, owned: bool = True) -> None:
        self.owned = owned
        self.deaths = 0
        self.back = asyncio.Event()

    def processes(self) -> dict[str, int]:
        return {"decode": 1}

    async def serving_again(self, deaths: int) -> None:
        await self.back.wait()


class Bench:
    """A board with its stand-ins; the run's clock says how many events there were."""

    def __init__(
        self,
        rules: FaultRules | None = None,
        setting: Setting = HERE,
        refuses: Mapping[str, str] | None = None,
        unsteady: str = "",
        owned: bool = True,
        now_s: Callable[[], float] = lambda: 4.0,
    ) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()
        self.hands = StandIn(refuses=refuses)
        self.engine = Engine(owned)
        self.board = FaultBoard(
            rules or FaultRules(seed=1),
            self.engine,
            lambda: setting,
            self._injector,
            now_s,
            self.emit,
            lambda: unsteady,
        )

    def emit(
        self,
        kind: str,
        text: str,
        *,
        recovery_s: float | None = None,
        at_s: float | None = None,
        fault: FaultMark | None = None,
    ) -> None:
        t_s = 4.0 if at_s is None else at_s
        self.events.append(Event(t_s=t_s, kind=kind, text=text, recovery_s=recovery_s, fault=fault))
        self._news.set()

    async def _injector(self, via: Via) -> Injector:
        if via is Via.PROXY or via is Via.HOLDER:
            return self.hands
        raise FaultRefused("nobody does that")

    def start(self, *planned: FaultSpec) -> asyncio.Task[None]:
        return asyncio.create_task(self.board.follow(planned))

    async def until(self, kind: str, count: int = 1) -> None:
        while sum(event.kind == kind for event in self.events) < count:
            self._news.clear()
            await self._news.wait()

    @property
    def told(self) -> list[str]:
        return [f"{event.kind} {event.fault.number}" if event.fault else event.kind for event in self.events]


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


def tick(t_s: float, in_flight: int) -> Tick:
    nothing = Quantiles()
    return Tick(
        t_s=t_s, state="running", duration_s=9.0, planned=9, due=9, sent=9, in_flight=in_flight, done=0, outcomes={},
        due_rate=0.0, done_rate=0.0, tokens=0, token_rate=0.0, ttft=nothing, itl=nothing, ttft_all=nothing,
    )  # fmt: skip


async def test_a_fault_that_strikes_the_engine_is_active_until_that_serves_again() -> None:
    bench = Bench()
    task = bench.start()
    await asyncio.sleep(0)
    bench.board.inject(KILL)
    await bench.until("fault.start")
    (active,) = bench.board.active
    assert (active.kind, active.number, active.since_s, active.until_s) == ("engine.kill", 1, 4.0, None)
    assert active.words == "part all"
    bench.engine.back.set()
    await bench.until("fault.end")
    assert bench.board.active == ()
    assert bench.told == ["fault.start 1", "fault.end 1"]
    assert bench.events[-1].recovery_s == 0.0
    await ended(task)


async def test_a_target_that_is_not_ours_has_no_recovery_to_wait_for() -> None:
    bench = Bench(setting=PIDS, owned=False)
    task = bench.start(KILL)
    await bench.until("fault.end")
    assert bench.events[-1].recovery_s is None
    await ended(task)


async def test_an_engine_that_never_comes_back_ends_the_fault_without_a_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fault_board, "RECOVERY_LIMIT_S", 0.0)
    bench = Bench()
    task = bench.start(KILL)
    await bench.until("fault.end")
    assert bench.events[-1].recovery_s is None
    await ended(task)


async def test_a_run_that_ends_first_ends_its_faults_and_begins_none_of_the_later_ones() -> None:
    bench = Bench()
    task = bench.start(SLOW, FaultSpec("network.refuse", 3600.0, for_s=1.0))
    await bench.until("fault.start")
    await ended(task)
    assert bench.hands.log == ["begin 1", "undo 1"]
    assert bench.told == ["fault.start 1", "fault.end 1"]
    assert bench.events[-1].text == "network.latency: the run was over"
    assert bench.board.active == ()


async def test_all_faults_are_ended_at_once_and_the_planned_ones_go_on() -> None:
    bench = Bench()
    task = bench.start(SLOW, SLOW)
    await bench.until("fault.start", 2)
    assert bench.board.end_all("the operator ended it") == 2
    await bench.until("fault.end", 2)
    assert bench.board.end_all("again") == 0
    bench.board.inject(SLOW)
    await bench.until("fault.start", 3)
    await ended(task)


async def test_what_came_of_a_fault_that_was_asked_for_names_the_command_that_asked() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    bench.board.inject(KILL, 7)
    await bench.until("fault.start", 2)
    await bench.board.finish("the run was aborted")
    bench.board.inject(SLOW, 8)
    assert {(event.kind, event.fault.command) for event in bench.events if event.fault} == {
        ("fault.start", 0), ("fault.end", 0), ("fault.start", 7), ("fault.end", 7), ("fault.refused", 8),
    }  # fmt: skip
    await ended(task)


async def test_a_finished_board_has_undone_everything_and_begins_nothing() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    await bench.board.finish("the run was aborted")
    assert bench.hands.log == ["begin 1", "undo 1"]
    bench.board.inject(SLOW)
    assert bench.told == ["fault.start 1", "fault.end 1", "fault.refused 2"]
    await ended(task)


async def test_a_fault_that_is_ended_early_says_what_it_did_as_well() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    await ended(task)
    mark = bench.events[-1].fault
    assert mark is not None
    assert (mark.undone, mark.facts) == (True, {"hit": 3.0})


async def test_a_fault_whose_holder_does_not_answer_is_not_said_to_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_fault, "ENDING_S", 0.01)
    bench = Bench()
    bench.hands.deaf = True
    task = bench.start(SLOW)
    await bench.until("fault.start")
    await ended(task)
    assert bench.told == ["fault.start 1", "fault.end 1"]
    mark = bench.events[-1].fault
    assert mark is not None
    assert not mark.undone


async def test_a_fault_whose_task_is_cancelled_tells_what_its_holder_said_of_it() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    (holding,) = (one for one in asyncio.all_tasks() if "_bring" in repr(one.get_coro()))
    holding.cancel()  # as a task group does when another of its tasks fails
    await bench.until("fault.end")
    mark = bench.events[-1].fault
    assert mark is not None
    assert (mark.undone, mark.facts) == (True, {"hit": 3.0})
    await ended(task)


async def test_a_fault_that_has_struck_is_not_waited_for_once_all_are_ended() -> None:
    bench = Bench()
    task = bench.start(KILL)
    await bench.until("fault.start")
    bench.board.end_all("the operator ended it")  # while it is held, or while the target is on its way back
    await bench.board.finish("the run was over")
    assert bench.told == ["fault.start 1", "fault.end 1"]
    mark = bench.events[-1].fault
    assert mark is not None
    assert mark.undone
    await ended(task)


async def test_a_fault_that_was_asked_for_when_all_were_being_ended_is_refused() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    bench.board.inject(BRIEF)
    await bench.board.finish("the run was aborted")  # before the task of the other one has had its turn
    assert bench.hands.log == ["begin 1", "undo 1"]
    assert sorted(bench.told) == ["fault.end 1", "fault.refused 2", "fault.start 1"]
    await ended(task)


async def test_a_fault_ends_by_itself_with_what_it_did() -> None:
    bench = Bench()
    task = bench.start(BRIEF)
    await bench.until("fault.end")
    mark = bench.events[-1].fault
    assert mark is not None
    assert (mark.undone, mark.facts, mark.instant) == (True, {"hit": 3.0}, False)
    assert bench.events[-1].text == "network.refuse: its time was over"
    await ended(task)


async def test_a_fault_ends_when_its_condition_holds() -> None:
    bench = Bench()
    until = Condition("in_flight", above=5.0, for_s=0.5)
    task = bench.start(FaultSpec("network.blackhole", 0.0, for_s=60.0, until=until))
    await bench.until("fault.start")
    bench.board.see(tick(1.0, in_flight=6))
    bench.board.see(tick(1.25, in_flight=6))
    assert len(bench.board.active) == 1
    bench.board.see(tick(1.5, in_flight=6))
    await bench.until("fault.end")
    assert "in_flight above 5 for 0.5 s" in bench.events[-1].text
    await ended(task)


@pytest.mark.parametrize(
    ("fault", "bench", "why"),
    [
        (KILL, {"setting": Setting(target="http://127.0.0.1:1")}, "it needs the target's process"),
        (SLOW, {"setting": THERE}, "give --i-own-this-target"),
        (SLOW, {"rules": FaultRules(1, Blast(share=0.5))}, "more than 0.5"),
        (SLOW, {"rules": FaultRules(1, Blast(length_s=30.0))}, "longer than 30 s"),
        (SLOW, {"refuses": {"network.latency": "no such road"}}, "no such road"),
    ],
)
async def test_what_cannot_be_is_skipped_if_planned_and_refused_if_asked_for(
    fault: FaultSpec, bench: dict[str, object], why: str
) -> None:
    place = Bench(**bench)  # type: ignore[arg-type]
    task = place.start(fault)
    await place.until("fault.skipped")
    place.board.inject(fault)
    await place.until("fault.refused")
    assert place.told == ["fault.skipped 1", "fault.refused 2"]
    assert all(why in event.text for event in place.events)
    assert place.hands.log == []
    await ended(task)


async def test_a_target_elsewhere_is_disturbed_where_its_owner_says_so() -> None:
    bench = Bench(FaultRules(1, own=True), THERE)
    task = bench.start(BRIEF)
    await bench.until("fault.end")
    await ended(task)


async def test_no_more_faults_are_on_at_once_than_the_blast_radius_allows() -> None:
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    task = bench.start(SLOW)
    await bench.until("fault.start")
    bench.board.inject(BRIEF)
    await bench.until("fault.refused")
    assert "at_once" in bench.events[-1].text
    await ended(task)


async def test_a_fault_that_is_soon_over_counts_as_on_all_the_same() -> None:
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    task = bench.start(dataclasses.replace(SLOW, for_s=0.2))
    await bench.until("fault.start")
    bench.board.inject(BRIEF)
    await bench.until("fault.refused")
    await ended(task)


async def test_a_strike_that_is_over_counts_for_a_while_all_the_same() -> None:
    now = {"s": 4.0}
    bench = Bench(FaultRules(1, Blast(at_once=1)), PIDS, owned=False, now_s=lambda: now["s"])
    task = bench.start(KILL)
    await bench.until("fault.end")
    bench.board.inject(KILL)
    await bench.until("fault.refused")
    assert "at_once" in bench.events[-1].text
    now["s"] = 5.0
    bench.board.inject(KILL)
    await bench.until("fault.end", 2)
    await ended(task)


async def test_a_planned_strike_waits_until_an_earlier_one_counts_no_more() -> None:
    started = time.monotonic()
    rules = FaultRules(1, Blast(at_once=1))
    bench = Bench(rules, PIDS, owned=False, now_s=lambda: 4.0 + time.monotonic() - started)
    task = bench.start(KILL, KILL)
    await bench.until("fault.end", 2)
    assert time.monotonic() - started >= 1.0
    assert bench.told == ["fault.start 1", "fault.end 1", "fault.start 2", "fault.end 2"]
    await ended(task)


@pytest.mark.parametrize("at_s", [0.0, 3.9])  # it should be over by now; or is in a moment
async def test_a_planned_fault_waits_until_an_earlier_one_is_undone(at_s: float) -> None:
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    task = bench.start(dataclasses.replace(SLOW, at_s=at_s, for_s=0.2), BRIEF)
    await bench.until("fault.end", 2)
    await ended(task)
    starts = [event.kind for event in bench.events if event.fault]
    assert starts == ["fault.start", "fault.end", "fault.start", "fault.end"]


def test_what_one_fault_has_to_itself_is_not_given_to_another_one_meanwhile() -> None:
    files, stop, pause = (FaultSpec(kind, 0.0, for_s=5.0) for kind in ("engine.files", "engine.stop", "host.pause"))
    missing, swapped = (FaultSpec(f"engine.model_{how}", 0.0, for_s=5.0) for how in ("missing", "swapped"))
    rules = FaultRules(1)
    assert "engine.files is on" in rules.obstacle(files, Setting(), [(files, 0.0)], 1.0)
    assert "end it first" in rules.obstacle(pause, Setting(), [(files, 0.0), (stop, 0.0)], 1.0)
    assert "the link to the model" in rules.obstacle(swapped, Setting(), [(missing, 0.0)], 1.0)
    assert rules.obstacle(stop, Setting(), [(files, 0.0), (missing, 0.0)], 1.0) == ""
    assert rules.obstacle(files, Setting(), [(files, 0.0)], 4.9) == ""  # it is about to end, and is waited for


async def test_planned_faults_that_wait_for_room_come_one_by_one_in_their_order() -> None:
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    slow = dataclasses.replace(SLOW, for_s=0.1)
    task = bench.start(slow, dataclasses.replace(slow, for_s=0.05), BRIEF)
    await bench.until("fault.end", 3)
    await ended(task)
    assert bench.hands.log == ["begin 1", "undo 1", "begin 2", "undo 2", "begin 3", "undo 3"]
    assert [event.fault.kind for event in bench.events if event.fault][-1] == BRIEF.kind


async def test_a_planned_fault_whose_turn_never_comes_is_skipped() -> None:
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    task = bench.start(dataclasses.replace(SLOW, at_s=-100.0), BRIEF, BRIEF)  # the first should long be over
    await bench.until("fault.start")
    for _ in range(3):
        await asyncio.sleep(0)
    await ended(task)
    assert bench.told == ["fault.start 1", "fault.end 1", "fault.skipped 2", "fault.skipped 3"]
    assert bench.events[-1].text == "network.refuse: the run was over"


async def test_a_planned_fault_does_not_wait_for_one_that_is_to_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_board, "_ROOM_S", 3600.0)
    bench = Bench(FaultRules(1, Blast(at_once=1)))
    task = bench.start(SLOW, BRIEF)
    await bench.until("fault.skipped")
    assert bench.hands.log == ["begin 1"]
    await ended(task)


async def test_each_fault_has_chance_of_its_own_and_the_same_one_again() -> None:
    seeds = []
    for _ in range(2):
        bench = Bench()
        task = bench.start(BRIEF, BRIEF)
        await bench.until("fault.end", 2)
        await ended(task)
        seeds.append([order.seed for order in bench.hands.orders])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 2


async def test_a_service_that_was_not_steady_before_any_fault_meets_none() -> None:
    bench = Bench(unsteady="calm is 0.6, <= 0.1")
    task = bench.start(BRIEF, BRIEF)
    await bench.until("fault.withheld")
    assert "not steady before any fault: calm is 0.6, <= 0.1" in bench.events[0].text
    bench.board.inject(BRIEF)  # whoever asks for one gets it
    await bench.until("fault.end")
    assert bench.told == ["fault.withheld", "fault.start 1", "fault.end 1"]
    await ended(task)


async def test_a_service_that_a_fault_has_already_met_is_not_asked_whether_it_was_steady() -> None:
    bench = Bench(unsteady="calm is 0.6, <= 0.1")
    task = bench.start(dataclasses.replace(BRIEF, at_s=4.05))
    await asyncio.sleep(0)
    bench.board.inject(BRIEF)
    await bench.until("fault.end", 2)
    await ended(task)


async def test_who_holds_a_fault_may_die_and_the_fault_is_over_with_it() -> None:
    bench = Bench()
    task = bench.start(SLOW)
    await bench.until("fault.start")
    bench.hands.die("killed by signal 9")
    await bench.until("fault.end")
    assert bench.events[-1].text == "network.latency: killed by signal 9"
    await ended(task)


async def test_a_run_that_goes_on_counts_on_and_closes_what_its_runner_left_open() -> None:
    bench = Bench()
    left = FaultMark(number=3, kind="network.latency")
    over = FaultMark(number=2, kind="network.refuse")
    bench.board.take_up(
        [
            Event(t_s=1.0, kind="fault.start", text="", fault=over),
            Event(t_s=2.0, kind="fault.start", text="", fault=left),
            Event(t_s=2.5, kind="fault.end", text="", fault=over),
        ],
        at_s=3.0,
        come=2,
    )
    assert [(event.t_s, event.fault) for event in bench.events] == [(3.0, left)]
    task = bench.start(BRIEF)
    await bench.until("fault.start")
    assert bench.told == ["fault.end 3", "fault.start 4"]
    await ended(task)
    first = Bench()
    task = first.start(BRIEF, BRIEF, BRIEF)
    await first.until("fault.end", 3)
    await ended(task)
    assert bench.hands.orders[0].seed == first.hands.orders[2].seed  # the third that was planned
