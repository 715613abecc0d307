"""A whole run with faults that stand-ins hold: what is on record, in which order all ends, and what the verdict is."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_server import ScriptedServer, Turn
from test_trial import Watch, fine, options

from scenarios.definition import Blast, Condition, FaultSpec, GateSpec, Matrix, Phase
from scenarios.errors import NotResumable, TargetError
from scenarios.faults.asked import encode
from scenarios.faults.injector import Injector
from scenarios.gates import instrument
from scenarios.journal import JournalReader, send_command
from scenarios.rebuild import rebuild
from scenarios.result import ResultDocument, Verdict
from scenarios.runner import RunOptions, read_interrupted, resume_trial, trial
from scenarios.runner.clean_slots import CleanSlots
from scenarios.runner.injectors import InPath, Starts
from scenarios.runner.target import Target
from scenarios.runs import journal_path
from scenarios.tick import Event, Tick
from scenarios.toml.matrix import slots
from tests.fault_stand_ins import StandIn
from tests.planted.scenario import launch

SLOW = FaultSpec("network.latency", 0.2, for_s=60.0, params=(("delay", 0.2), ("jitter", 0.0), ("direction", "down")))
HOG = FaultSpec("host.cpu", 0.2, for_s=0.3, params=(("processes", 1.0), ("load", 1.0)))


async def broken(turn: Turn) -> bool:
    await turn.say(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    return True


class Hands:
    """The stand-ins of one run; `log` is what both of them did, in order."""

    def __init__(self) -> None:
        self.proxies: list[StandIn] = []
        self.holders: list[StandIn] = []
        self.target: Target

    def starts(self, options: RunOptions, target: Target, journal: Path) -> Starts:
        self.target = target

        async def proxy() -> InPath:
            self.proxies.append(StandIn(base_url=target.base_url))
            return self.proxies[-1]

        async def holder() -> Injector:
            self.holders.append(StandIn())
            return self.holders[-1]

        return Starts(proxy, holder)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    """That this machine may be busy spoils no verdict here."""
    hands = Hands()
    monkeypatch.setattr(instrument, "MOST_LATE", 1.0)
    monkeypatch.setattr(trial, "starts_of", hands.starts)
    return hands


def on_event(watch: Watch, kind: str, act: Callable[[], None]) -> Callable[[Event], None]:
    """Records every event, and acts at each of that kind."""

    def hear(event: Event) -> None:
        watch.events.append(event)
        if event.kind == kind:
            act()

    return hear


async def test_planned_faults_are_brought_about_numbered_and_undone_before_the_run_ends(
    tmp_path: Path, hands: Hands
) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, faults=(HOG, SLOW)))
    marks = [(event.kind, event.fault.number, event.fault.kind) for event in watch.events if event.fault]
    assert marks[:2] == [("fault.start", 1, "host.cpu"), ("fault.start", 2, "network.latency")]
    assert marks[2:] == [("fault.end", 1, "host.cpu"), ("fault.end", 2, "network.latency")]
    assert watch.kinds.index("proxy.ready") < watch.kinds.index("phase.run")
    assert watch.kinds.index("phase.judge") > watch.kinds.index("fault.end")
    assert hands.proxies[0].log == ["begin 2", "undo 2", "close"]
    assert hands.holders[0].log == ["begin 1", "undo 1", "close"]
    assert any(len(tick.faults) == 2 for tick in watch.ticks)
    assert document.summary.instrument["through_proxy"] == 1
    assert document.summary.outcomes["ok"] == 40
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader) == document


async def test_requests_take_the_road_through_the_proxy(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server, ScriptedServer(fine) as behind:
        plain = hands.starts

        async def elsewhere() -> InPath:
            return StandIn(base_url=behind.url)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trial, "starts_of", lambda *given: Starts(elsewhere, plain(*given).holder))
            document = await watch.run(options(server.url, tmp_path, faults=(SLOW,)))
        assert behind.connections > 0
        assert [turn.path for turn in server.turns] == ["/v1/models"]
    assert document.summary.outcomes["ok"] == 40


async def test_a_run_without_faults_has_no_proxy_and_nobody_who_holds_any(tmp_path: Path, hands: Hands) -> None:
    async with ScriptedServer(fine) as server:
        document = await Watch().run(options(server.url, tmp_path))
    assert (hands.proxies, hands.holders) == ([], [])
    assert document.summary.instrument["through_proxy"] is None


async def test_faults_asked_for_live_come_with_their_parameters_and_one_command_ends_them_all(
    tmp_path: Path, hands: Hands
) -> None:
    watch, path = Watch(), journal_path(tmp_path, "r1")

    def ask() -> None:
        send_command(
            path, "fault", encode(FaultSpec("host.cpu", 0.0, for_s=60.0, params=(("processes", 3), ("load", 0.5))))
        )
        send_command(path, "fault", "network.refuse")  # there is no proxy
        send_command(path, "fault", "network.nonsense")

    def end() -> None:
        send_command(path, "end_faults")

    def hear(event: Event) -> None:
        watch.events.append(event)
        if event.kind == "phase.run":
            ask()
        elif event.kind == "fault.start":
            end()

    async with ScriptedServer(fine) as server:
        await trial_of(options(server.url, tmp_path), watch, hear)
    assert hands.holders[0].orders[0].params == {"processes": 3.0, "load": 0.5}
    assert hands.holders[0].log == ["begin 1", "undo 1", "close"]
    assert [kind for kind in watch.kinds if kind.startswith("operator.")] == [
        "operator.fault", "operator.fault", "operator.end_faults",
    ]  # fmt: skip
    refusals = [event.text for event in watch.events if event.kind == "fault.refused"]
    assert len(refusals) == 2
    assert [event.fault.command for event in watch.events if event.kind == "fault.start" and event.fault] == [1]
    assert any("--inject" in text for text in refusals)
    assert any("network.nonsense" in text for text in refusals)
    (over,) = [event for event in watch.events if event.kind == "fault.end"]
    assert over.text == "host.cpu: the operator ended it"


async def trial_of(chosen: RunOptions, watch: Watch, hear: Callable[[Event], None]) -> ResultDocument:
    from scenarios.runner import run_trial

    return await run_trial(chosen, watch.tick, hear, watch.stop)


async def test_a_condition_that_holds_aborts_the_run_which_is_no_go_and_not_resumed(
    tmp_path: Path, hands: Hands
) -> None:
    watch = Watch()
    abort = (Condition("error_rate", above=0.5, for_s=0.5),)
    async with ScriptedServer(broken) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, faults=(SLOW,), abort=abort, gates=())
        document = await watch.run(chosen)
    assert (document.run.state, document.verdict) == ("aborted", Verdict.NO_GO)
    assert "error_rate above 0.5 for 0.5 s, it is 1" in document.why
    kinds = watch.kinds
    assert kinds.index("fault.start") < kinds.index("abort") < kinds.index("fault.end") < kinds.index("phase.judge")
    assert hands.proxies[0].log == ["begin 1", "undo 1", "close"]
    path = journal_path(tmp_path, "r1")
    with JournalReader(path) as reader:
        assert rebuild(reader) == document
    with pytest.raises(NotResumable, match="was aborted"):
        read_interrupted(path)


async def test_an_aborted_run_that_is_stopped_at_once_stays_aborted(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    abort = (Condition("error_rate", above=0.5, for_s=0.5),)
    async with ScriptedServer(broken) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, abort=abort)

        def stop() -> None:
            running.cancel()

        running = asyncio.create_task(trial_of(chosen, watch, on_event(watch, "abort", stop)))
        with pytest.raises(asyncio.CancelledError):
            await running
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.run().state == "aborted"
    assert "operator.stop" not in watch.kinds


async def test_an_aborted_run_that_fails_afterwards_stays_aborted(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    abort = (Condition("error_rate", above=0.5, for_s=0.5),)

    def fail() -> None:
        raise TargetError("it broke")

    async with ScriptedServer(broken) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, abort=abort)
        with pytest.raises(TargetError):
            await trial_of(chosen, watch, on_event(watch, "phase.judge", fail))
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert reader.run().state == "aborted"
    assert "run.failed" in watch.kinds


async def test_a_stop_ends_faults_first_and_none_begins_any_more(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, faults=(SLOW, FaultSpec("network.refuse", 30.0, 1.0)))
        document = await trial_of(chosen, watch, on_event(watch, "fault.start", watch.stop.set))
    assert hands.proxies[0].log == ["begin 1", "undo 1", "close"]
    (over,) = [event for event in watch.events if event.kind == "fault.end"]
    assert over.text == "network.latency: the operator stopped the run"
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader) == document


async def test_a_service_that_fails_before_any_fault_meets_none_and_is_no_go(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    calm = GateSpec("error_rate", maximum=0.1, name="calm", phase=Phase.BEFORE)
    late = FaultSpec("network.refuse", 1.6, for_s=0.2)
    async with ScriptedServer(broken) as server:
        document = await watch.run(options(server.url, tmp_path, faults=(late,), gates=(calm,)))
    assert "fault.withheld" in watch.kinds
    assert hands.proxies[0].log == ["close"]
    assert document.verdict is Verdict.NO_GO
    assert "not steady before any fault: calm is 1" in document.why


async def test_a_proxy_that_dies_ends_the_run_as_invalid(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()

    def kill() -> None:
        hands.proxies[0].die("killed by signal 9")

    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, faults=(SLOW,))
        document = await trial_of(chosen, watch, on_event(watch, "fault.start", kill))
    assert "proxy.died" in watch.kinds
    with JournalReader(journal_path(tmp_path, "r1")) as reader:
        assert rebuild(reader) == document
        assert document == reader.document()
        assert reader.document().verdict is Verdict.INVALID  # type: ignore[union-attr]
        assert "fault proxy" in reader.document().why  # type: ignore[union-attr]


async def test_a_run_that_is_aborted_and_whose_proxy_is_gone_is_invalid_not_no_go(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    abort = (Condition("error_rate", above=0.5, for_s=0.5),)

    def kill() -> None:
        hands.proxies[0].die("killed by signal 9")

    async with ScriptedServer(broken) as server:
        chosen = options(server.url, tmp_path, duration_s=60.0, faults=(SLOW,), abort=abort)
        document = await trial_of(chosen, watch, on_event(watch, "abort", kill))
    assert document.run.state == "aborted"
    assert document.verdict is Verdict.INVALID


async def test_the_slots_of_a_matrix_are_looked_after_with_every_tick(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tick] = []

    class Slots(CleanSlots):
        def see(self, tick: Tick) -> None:
            seen.append(tick)
            super().see(tick)

        async def follow(self) -> None:  # this target is not ours to start anew, and would not be looked after
            await asyncio.Event().wait()

    monkeypatch.setattr(trial, "CleanSlots", Slots)
    matrix = Matrix(kinds=("network.latency", "network.slice"), slot_s=1.0, lead_s=0.2, length_s=0.2)
    watch = Watch()
    async with ScriptedServer(fine) as server:
        await watch.run(options(server.url, tmp_path, matrix=matrix))
    assert len(seen) > 4


async def test_a_target_that_hangs_at_the_end_of_a_slot_serves_again_in_the_next_one(
    tmp_path: Path, hands: Hands
) -> None:
    watch = Watch()
    matrix = Matrix(kinds=("host.cpu", "host.memory"), slot_s=2.0, lead_s=0.4, length_s=0.2)
    hung: list[int] = []

    def hang() -> None:
        if not hung:
            hung.extend(hands.target.processes().values())
            os.kill(hung[0], signal.SIGSTOP)  # and nobody undoes it

    chosen = options("", tmp_path, duration_s=6.0, matrix=matrix, faults=slots(matrix))
    chosen = dataclasses.replace(chosen, target=None, launch=launch("none", tmp_path))
    document = await trial_of(chosen, watch, on_event(watch, "fault.start", hang))
    (restored,) = [event for event in watch.events if event.kind == "target.restored"]
    assert "none had ended in 1.4 s" in restored.text
    assert document.summary.outcomes["ok"] > 20
    ticks = [tick for tick in watch.ticks if tick.engine.state == "ready" and tick.t_s > restored.t_s]
    assert ticks[-1].done > ticks[0].done


async def test_a_matrix_has_the_runners_clock_jump_between_faults_of_the_road(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    matrix = Matrix(kinds=("network.latency", "host.clock_step", "network.slice"), slot_s=0.6, lead_s=0.1, length_s=0.2)
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, matrix=matrix, faults=slots(matrix)))
    assert "fault.skipped" not in watch.kinds
    assert [order.kind for order in hands.proxies[0].orders] == ["network.latency", "network.slice"]
    (step,) = [event.fault for event in watch.events if event.fault and event.kind == "fault.end"][1:2]
    assert (step.kind, step.undone, list(step.facts)) == ("host.clock_step", True, ["step_s"])
    assert document.summary.outcomes["ok"] == 40


async def test_a_guardian_that_dies_takes_its_faults_along_and_the_next_one_has_a_new_one(
    tmp_path: Path, hands: Hands
) -> None:
    watch = Watch()
    first = FaultSpec("host.cpu", 0.1, for_s=60.0, params=HOG.params)

    def kill() -> None:
        if len(hands.holders) == 1:
            hands.holders[0].die("killed by signal 9")

    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, faults=(first, FaultSpec("host.cpu", 1.0, 0.1, params=HOG.params)))
        await trial_of(chosen, watch, on_event(watch, "fault.start", kill))
    assert "holder.died" in watch.kinds
    assert [event.text for event in watch.events if event.kind == "fault.end"] == [
        "host.cpu: killed by signal 9", "host.cpu: its time was over",
    ]  # fmt: skip
    assert all("close" in holder.log for holder in hands.holders)


async def test_a_run_that_goes_on_meets_only_the_faults_that_had_not_come(tmp_path: Path, hands: Hands) -> None:
    watch = Watch()
    early, late = FaultSpec("network.refuse", 0.2, for_s=0.2), FaultSpec("network.refuse", 2.5, for_s=0.2)
    path = journal_path(tmp_path, "r1")
    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, duration_s=3.0, faults=(early, late), blast=Blast(at_once=1))
        await trial_of(chosen, watch, on_event(watch, "fault.end", watch.stop.set))
        again = Watch()
        document = await resume_trial(path, None, again.tick, again.events.append, again.stop)
    assert [order.number for proxy in hands.proxies for order in proxy.orders] == [1, 2]
    assert hands.proxies[0].orders[0].seed != hands.proxies[1].orders[0].seed
    assert document.summary.outcomes["ok"] + document.summary.outcomes.get("cancelled", 0) == 60


async def test_a_fault_that_a_run_died_with_has_its_end_before_the_run_goes_on(tmp_path: Path, hands: Hands) -> None:
    watch, again = Watch(), Watch()
    path = journal_path(tmp_path, "r1")
    async with ScriptedServer(fine) as server:
        chosen = options(server.url, tmp_path, duration_s=3.0, faults=(SLOW,))
        await trial_of(chosen, watch, on_event(watch, "fault.start", watch.stop.set))
        with sqlite3.connect(path) as journal:  # as a runner leaves it that is killed while the fault is on
            rows = journal.execute("SELECT id, body FROM event").fetchall()
            last = next(row for row, body in rows if b"fault.start" in body)
            journal.execute("DELETE FROM event WHERE id > ?", (last,))
        journal.close()
        document = await resume_trial(path, None, again.tick, again.events.append, again.stop)
    (end,) = [event for event in again.events if event.kind == "fault.end"]
    (fault,) = document.summary.faults
    assert again.kinds.index("fault.end") < again.kinds.index("run.resumed")
    assert end.t_s == fault.end_s
    with JournalReader(path) as reader:
        assert rebuild(reader) == document
