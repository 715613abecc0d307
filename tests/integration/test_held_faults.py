"""Faults of the target's processes and files: brought about, ended as ordered, and undone whoever is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from held_faults import Victim, order_of, subject_of, taken, until, victim

from engine.config import DEMO_MODEL
from scenarios.faults.holder import HolderInjector
from scenarios.faults.holder.process import Process, find, lives, send
from scenarios.faults.injector import Ended, FaultRefused
from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.kind import Via
from tests.benchmarks.faults_bench.undone import WITHIN_S, attempt

HOLDER_KINDS = ("engine.stop", "engine.files", "engine.port_taken", "engine.model_missing", "engine.model_swapped")


@asynccontextmanager
async def injecting(target: Victim, model_link: Path | None = None) -> AsyncIterator[HolderInjector]:
    url = f"http://127.0.0.1:{target.port}"
    injector = await HolderInjector.start(subject_of(lambda: {"server": target.pid}, url, model_link))
    try:
        yield injector
    finally:
        await injector.close()


async def in_force(injector: HolderInjector, kind: str, number: int = 1, **params: float | str) -> asyncio.Task[Ended]:
    """The fault, once it is in force, for longer than any test takes."""
    on = asyncio.Event()
    holding = asyncio.create_task(injector.hold(order_of(kind, number, for_s=300.0, **params), on.set))
    waiting = asyncio.create_task(on.wait())
    await asyncio.wait((holding, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if holding.done():
        holding.result()
    return holding


async def ended(holding: asyncio.Task[Ended]) -> None:
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    assert holding.cancelled()


async def until_soon(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


async def test_a_stopped_process_goes_on_when_its_time_is_over() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            seen: list[str] = []
            over = await injector.hold(order_of("engine.stop", for_s=0.2), lambda: seen.append(target.state))
            assert seen == [psutil.STATUS_STOPPED]
            assert (over.number, over.why, over.undone, over.facts) == (1, "its time was over", True, {"stopped": 1})
            assert target.state != psutil.STATUS_STOPPED


async def test_a_fault_that_is_cancelled_is_undone_before_it_lets_go() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.stop")
            assert target.state == psutil.STATUS_STOPPED
            await ended(holding)
            assert target.state != psutil.STATUS_STOPPED


async def test_closing_undoes_what_is_in_force() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.stop")
        assert target.state != psutil.STATUS_STOPPED
        over = await holding
        assert (over.why, over.undone) == ("it was ended", True)


async def test_what_does_not_run_is_not_struck() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            assert (await injector.hold(order_of("engine.kill"), lambda: None)).facts == {"killed": 1}
            target.process.wait()
            with pytest.raises(FaultRefused, match="nothing of the target is running"):
                await injector.hold(order_of("engine.kill", 2), lambda: None)


async def test_a_process_that_has_come_to_the_same_number_is_never_continued_or_killed() -> None:
    with victim() as target:
        now = find(target.pid)
        assert now is not None
        other = Process(now.pid, now.born + 1)
        assert not lives(other)
        assert not send(other, signal.SIGKILL)
        assert send(now, signal.SIGCONT)
        assert target.state != "gone"
    assert find(target.pid) is None
    assert not send(now, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["engine.kill", "engine.stop", "engine.files"])
async def test_a_process_that_came_to_the_number_on_the_way_is_not_struck(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with victim() as target:
        born = psutil.Process(target.pid).create_time()
        monkeypatch.setattr("scenarios.faults.holder.injector.find", lambda pid: Process(pid, born))  # of another time
        async with injecting(target) as injector:
            with pytest.raises(FaultRefused, match="nothing of the target is running"):
                await injector.hold(order_of(kind), lambda: None)
        assert target.state == psutil.STATUS_SLEEPING


async def test_descriptors_run_out_and_come_back() -> None:
    with victim() as target:
        process = psutil.Process(target.pid)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.files", spare=1)
            soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
            assert (soft, hard) == (process.num_fds() + 1, before[1])
            await ended(holding)
            assert process.rlimit(psutil.RLIMIT_NOFILE) == before


async def test_what_a_fault_has_to_itself_is_there_for_the_next_one_as_it_was_before_both() -> None:
    with victim() as target:
        process = psutil.Process(target.pid)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        async with injecting(target) as injector:
            first = await in_force(injector, "engine.files", spare=1)
            second = asyncio.create_task(injector.hold(order_of("engine.files", 2, for_s=0.05), lambda: None))
            third = asyncio.create_task(injector.hold(order_of("engine.files", 3), lambda: None))
            stop = await in_force(injector, "engine.stop", number=4)  # has nothing to do with them, and comes at once
            injector.end(3)
            with pytest.raises(FaultRefused, match="before it was in force"):
                await third
            assert not second.done()
            await ended(first)
            assert (await second).undone
            assert process.rlimit(psutil.RLIMIT_NOFILE) == before
            await ended(stop)


async def test_an_order_that_waits_goes_with_the_runner() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            first = await in_force(injector, "engine.stop")
            second = asyncio.create_task(injector.hold(order_of("host.pause", 2), lambda: None))
            await asyncio.sleep(0)
        with pytest.raises(FaultRefused):
            await second
        assert (await first).undone
        assert target.state != psutil.STATUS_STOPPED


async def test_a_paused_process_is_stopped_and_goes_on_again_and_again() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "host.pause", slice=0.02)
            for state in (psutil.STATUS_STOPPED, psutil.STATUS_SLEEPING) * 3:
                await until_soon(lambda state=state: target.state == state, state)  # type: ignore[misc]
            await ended(holding)
            assert target.state != psutil.STATUS_STOPPED


async def test_a_restart_loop_kills_what_has_come_back() -> None:
    with victim() as first, victim() as second:
        pids = {"server": first.pid}
        injector = await HolderInjector.start(subject_of(lambda: pids))
        try:
            holding = await in_force(injector, "engine.restart_loop", every=0.1)
            await until_soon(lambda: first.state == "gone", "the first is dead")
            pids = {"server": second.pid}
            await until_soon(lambda: second.state == "gone", "what came back is dead")
            await ended(holding)
        finally:
            await injector.close()


async def test_a_port_that_is_let_go_of_is_taken_until_the_end() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.port_taken")

            await until_soon(lambda: taken(target.port), "somebody else listens")
            assert target.state == "gone"
            await ended(holding)
    with victim(target.port) as again:
        assert again.port == target.port


async def test_a_port_is_taken_at_the_address_of_the_target_and_at_no_other() -> None:
    with socket.create_server(("127.0.0.7", 0)) as listener, victim() as target:
        port = listener.getsockname()[1]
        listener.close()  # as the target's death would
        injector = await HolderInjector.start(subject_of(lambda: {"server": target.pid}, f"http://127.0.0.7:{port}"))
        try:
            holding = await in_force(injector, "engine.port_taken")
            await until_soon(lambda: taken(port, "127.0.0.7"), "somebody else listens")
            assert not taken(port)
            await ended(holding)
        finally:
            await injector.close()


@pytest.mark.parametrize("kind", ["engine.model_missing", "engine.model_truncated", "engine.model_swapped"])
async def test_the_link_leads_elsewhere_and_back_and_the_model_is_not_touched(kind: str, tmp_path: Path) -> None:
    model = tmp_path / "mine" / "model.gguf"
    model.parent.mkdir()
    model.write_bytes(DEMO_MODEL.read_bytes())
    before = (model.stat(), model.read_bytes())
    link = tmp_path / "run" / "model.gguf"
    link.parent.mkdir()
    link.symlink_to(model)
    with victim() as target:
        async with injecting(target, link) as injector:
            holding = await in_force(injector, kind)
            assert link.resolve() != model
            if kind != "engine.model_missing":
                other = link.read_bytes()
                assert len(other) == (len(before[1]) // 2 if kind == "engine.model_truncated" else len(before[1]))
                assert other != before[1][: len(other)] or kind == "engine.model_truncated"
            await until_soon(lambda: target.state == "gone", "the target is dead")
            await ended(holding)
    assert link.readlink() == model
    assert list(link.parent.iterdir()) == [link]
    after = (model.stat(), model.read_bytes())
    assert (after[0].st_mtime_ns, after[0].st_ino, after[1]) == (before[0].st_mtime_ns, before[0].st_ino, before[1])


async def test_what_came_up_with_another_model_does_not_outlive_the_fault(tmp_path: Path) -> None:
    link = tmp_path / "model.gguf"
    link.symlink_to(DEMO_MODEL)
    with victim() as first, victim() as second:
        pids = {"server": first.pid}
        injector = await HolderInjector.start(subject_of(lambda: pids, model_link=link))
        try:
            holding = await in_force(injector, "engine.model_swapped")
            pids = {"server": second.pid}
            await asyncio.sleep(0.5)  # it may live as long as the fault does
            assert second.state != "gone"
            await ended(holding)
            await until_soon(lambda: second.state == "gone", "it ended with the fault")
        finally:
            await injector.close()


async def test_without_a_link_of_ours_no_model_is_touched() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            with pytest.raises(FaultRefused, match="it needs the embedded engine"):
                await injector.hold(order_of("engine.model_missing"), lambda: None)
            assert target.state != "gone"


async def test_a_guardian_that_is_killed_takes_no_fault_with_it_and_is_missed() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.stop")
            (guardian,) = [one for one in psutil.Process().children() if "scenarios.faults.holder" in one.cmdline()]
            guardian.kill()
            assert "was killed" in await injector.died()
            over = await holding
            assert over.undone
            assert "was killed" in over.why
            assert target.state != psutil.STATUS_STOPPED
            with pytest.raises(FaultRefused, match="was killed"):
                await injector.hold(order_of("engine.stop", 2), lambda: None)


async def test_a_holder_that_is_stopped_itself_is_killed_and_its_fault_undone() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            holding = await in_force(injector, "engine.stop")
            (guardian,) = [one for one in psutil.Process().children() if "scenarios.faults.holder" in one.cmdline()]
            (holder,) = guardian.children()
            os.kill(holder.pid, signal.SIGSTOP)
            await ended(holding)
            assert target.state != psutil.STATUS_STOPPED
            assert guardian.children() == []


async def test_a_holder_keeps_no_descriptor_but_those_it_lives_by() -> None:
    with victim() as target:
        async with injecting(target) as injector:
            first = await in_force(injector, "engine.stop")
            (guardian,) = [one for one in psutil.Process().children() if "scenarios.faults.holder" in one.cmdline()]
            (holder,) = guardian.children()
            kept = sorted(os.listdir(f"/proc/{holder.pid}/fd"), key=int)
            assert len(kept) == 6, kept  # stdin, stdout, stderr; guardian, lifeline, tail
            await ended(first)


@pytest.mark.parametrize("who", [("runner",), ("guardian",), ("holder",), ("runner", "guardian"), ("runner", "holder")])
@pytest.mark.parametrize("kind", HOLDER_KINDS)
def test_a_fault_is_undone_whoever_is_killed(kind: str, who: tuple[str, ...]) -> None:
    one = attempt(kind, who)
    assert (one.problem, one.refused) == ("", "")
    assert (
        one.seconds < 10 * WITHIN_S
    )  # the two seconds are the benchmark's to measure, on a machine without other work


def test_every_kind_that_is_held_has_a_holder() -> None:
    from scenarios.faults.holder.kinds import HOLDERS

    assert set(HOLDERS) == {name for name, kind in KINDS.items() if kind.via is Via.HOLDER}
