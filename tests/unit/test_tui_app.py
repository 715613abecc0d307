"""The console driven by keys: attaching, picking, faults, stopping, quitting, and what it survives."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from console.errors import LaunchError
from console.tui import follow
from console.tui.app import SeatrialApp
from console.tui.ask import Ask
from console.tui.bridge import Bridge
from console.tui.fault_form import FaultForm
from console.tui.follow import Follower
from console.tui.header import progress
from console.tui.help import Help
from console.tui.paint import plain
from console.tui.picker import Picker
from console.tui.snapshot import Phase, Snapshot
from console.tui.verdict import VerdictView
from scenarios.definition import FaultSpec
from scenarios.faults.asked import decode
from scenarios.faults.kinds import KINDS
from scenarios.journal import FILE_NAME, JournalReader, JournalWriter
from scenarios.result import Verdict
from tests.snapshots.made_journals import CASES, Made, add, catalogue, document, fill, run_info, tick, ticks, write

SIZE = (100, 30)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PERIOD_S", 0.01)


def app_on(
    directory: Path,
    journal: Path | None,
    launch: Callable[[str], Path] | None = None,
    readonly: bool = False,
    **options: Any,
) -> SeatrialApp:
    return SeatrialApp(directory, journal, launch, readonly, read_catalogue=catalogue, ascii_only=False, **options)


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at, f"it never came to that; the screen is {pilot.app.screen}"
        await pilot.pause(0.01)
    await pilot.pause()


async def attached(pilot: Pilot[int]) -> SeatrialApp:
    app = pilot.app
    assert isinstance(app, SeatrialApp)
    await until(pilot, lambda: app.snapshot.phase not in (Phase.EMPTY, Phase.OPENING))
    return app


def on_screen(app: SeatrialApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def commands(journal: Path) -> list[tuple[str, str]]:
    with JournalReader(journal) as reader:
        return [(command.kind, command.argument) for _, command in reader.commands()]


async def test_it_attaches_to_a_journal_and_shows_its_numbers(tmp_path: Path) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["recovered"]()))
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        text = on_screen(app)
        for word in (
            "peak-traffic",
            "7f3a",
            "● RUNNING",
            "02:11 / 03:00",
            "timeout",
            "SLO",
            "pii.email",
            "engine.kill",
        ):
            assert word in text


async def test_new_ticks_reach_the_screen(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "run-1" / FILE_NAME)
    fill(writer, Made(ticks=ticks(10)))
    app = app_on(tmp_path, writer.path)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        assert "00:10 / 03:00" in on_screen(app)
        add(writer, [tick(75.0)])
        writer.commit()
        await until(pilot, lambda: "01:15 / 03:00" in on_screen(app))
    writer.close()


async def test_with_nothing_to_attach_to_it_opens_with_the_scenarios(tmp_path: Path) -> None:
    app = app_on(tmp_path, None)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Picker) and "odd-input" in on_screen(app))
        await pilot.press("escape")
        assert isinstance(app.screen, Bridge)
        assert "press s" in on_screen(app)


async def test_without_a_journal_it_attaches_to_the_run_that_is_on(tmp_path: Path) -> None:
    write(tmp_path, Made(ticks=ticks(10), pid=os.getpid()))
    app = app_on(tmp_path, None)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.snapshot.phase is Phase.RUNNING)
        assert isinstance(app.screen, Bridge)


async def test_picking_a_scenario_starts_it_and_follows_its_journal(tmp_path: Path) -> None:
    started: list[str] = []

    def launch(name: str) -> Path:
        started.append(name)
        return write(tmp_path, Made(ticks=ticks(5), run=run_info(scenario=name)))

    app = app_on(tmp_path, None, launch)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Picker) and "odd-input" in on_screen(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.snapshot.phase is Phase.RUNNING)
        assert started == ["odd-input"]
        assert app.snapshot.scenario == "odd-input"
        assert isinstance(app.screen, Bridge)


async def test_a_run_that_does_not_start_says_why_without_markup(tmp_path: Path) -> None:
    def launch(name: str) -> Path:
        raise LaunchError("exit code 5 before it began:\n[/] \x1b[2J model not found")

    app = app_on(tmp_path, None, launch)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Picker) and "odd-input" in on_screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "model not found" in on_screen(app))
        assert "\x1b" not in on_screen(app)


async def test_a_scenario_with_a_mistake_is_shown_and_not_started(tmp_path: Path) -> None:
    started: list[str] = []
    app = app_on(tmp_path, None, lambda name: started.append(name) or tmp_path)  # type: ignore[func-returns-value]
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Picker) and "broken" in on_screen(app))
        await pilot.press("up")
        assert "unknown key 'rat'" in on_screen(app)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Picker)
        assert started == []


async def test_a_second_run_is_not_started_beside_a_live_one(tmp_path: Path) -> None:
    started: list[str] = []
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal, lambda name: started.append(name) or tmp_path)  # type: ignore[func-returns-value]
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await attached(pilot)
        await pilot.press("s")
        await until(pilot, lambda: "odd-input" in on_screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "still on" in on_screen(app))
        assert started == []


async def test_stopping_asks_first_and_then_writes_the_command(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("x", "enter")  # the safe answer stands first
        await pilot.pause()
        assert commands(journal) == []
        await pilot.press("x", "y")
        await until(pilot, lambda: commands(journal) == [("stop", "")])


async def choose(pilot: Pilot[int], kind: str) -> FaultForm:
    """Open the form and go to the kind; its fields are there then."""
    await pilot.press("f")
    form = pilot.app.screen
    assert isinstance(form, FaultForm)
    await pilot.press("slash", *kind, "enter")
    await until(pilot, lambda: KINDS[kind].about in str(form.query_one("#faultabout", Static).content))
    await pilot.press("enter")
    if KINDS[kind].params:
        await until(pilot, lambda: isinstance(field := pilot.app.focused, Input) and field.id != "faultfilter")
    return form


async def test_a_fault_is_injected_after_a_confirmation(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await choose(pilot, "engine.kill")
        await pilot.press("enter", "n")
        await pilot.pause()
        assert commands(journal) == []
        await choose(pilot, "engine.kill")
        await pilot.press("enter", "y")
        await until(pilot, lambda: len(commands(journal)) == 1)
    ((kind, argument),) = commands(journal)
    assert (kind, decode(argument)) == ("fault", FaultSpec("engine.kill", 0.0, params=(("part", "all"),)))


async def test_a_fault_is_injected_with_the_parameters_that_were_typed(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        form = await choose(pilot, "network.latency")
        for name, text in {"for": "3s", "share": "0.5", "delay": "300ms", "direction": "up"}.items():
            next(field for field in form.query("#faultfields Input").results(Input) if field.name == name).value = text
        await pilot.press("enter", "y")
        await until(pilot, lambda: len(commands(journal)) == 1)
    fault = decode(commands(journal)[0][1])
    assert (fault.kind, fault.for_s, fault.share) == ("network.latency", 3.0, 0.5)
    assert dict(fault.params) == {"delay": 0.3, "jitter": 0.0, "direction": "up"}


async def test_a_wrong_parameter_is_told_in_the_form_and_nothing_is_sent(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        form = await choose(pilot, "network.latency")
        next(field for field in form.query("#faultfields Input").results(Input) if field.name == "delay").value = "fast"
        await pilot.press("enter")
        await until(pilot, lambda: "fast" in str(form.query_one("#faultproblem", Static).content))
        assert app.screen is form
        await pilot.press("escape")
        await pilot.pause()
        assert commands(journal) == []


async def test_a_fault_that_is_not_possible_here_says_what_it_needs(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["nothing"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        form = await choose(pilot, "engine.kill")
        assert "the target's process" in str(form.query_one("#faultabout", Static).content)
        await pilot.press("enter")
        assert app.screen is form
        assert commands(journal) == []


async def test_one_key_ends_every_fault_that_is_on(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["fault"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("u")
        await until(pilot, lambda: commands(journal) == [("end_faults", "")])


@pytest.mark.parametrize(
    ("keys", "sent", "code"),
    [(["q", "l"], [], 0), (["q", "s"], [("stop", "")], 130), (["ctrl+c", "enter"], [], 0), (["ctrl+q"], [], 0)],
)
async def test_leaving_a_live_run(tmp_path: Path, keys: list[str], sent: list[tuple[str, str]], code: int) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press(*keys)
        await until(pilot, lambda: app.return_code is not None and app._exit)
    assert (app.return_value, app.return_code) == (code, code)
    assert commands(journal) == sent


async def test_quitting_can_be_called_off(tmp_path: Path) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["mid-run"]()))
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("q", "escape")
        assert isinstance(app.screen, Bridge)


@pytest.mark.parametrize(
    ("verdict", "state", "code"),
    [
        (Verdict.GO, "done", 0),
        (Verdict.NO_GO, "done", 1),
        (Verdict.INCONCLUSIVE, "done", 3),
        (Verdict.INVALID, "done", 4),
        (Verdict.GO, "interrupted", 130),
    ],
)
async def test_the_exit_code_is_the_verdicts(tmp_path: Path, verdict: Verdict, state: str, code: int) -> None:
    made = Made(ticks=ticks(3), run=run_info(state), document=document(verdict, state))
    app = app_on(tmp_path, write(tmp_path, made))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, VerdictView))
        text = on_screen(app)
        assert verdict.value in text
        assert "seatrial report 7f3a" in text
        assert "640 more requests would settle it" in text
        await pilot.press("escape", "v", "q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == code


async def test_the_end_of_a_run_opens_the_verdict_also_while_paused(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "run-1" / FILE_NAME)
    fill(writer, Made(ticks=ticks(10)))
    app = app_on(tmp_path, writer.path)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("space")
        writer.set_document(document())
        writer.commit()
        await until(pilot, lambda: isinstance(app.screen, VerdictView))
        await pilot.press("escape")
        assert "✗ NO-GO" in on_screen(app)
        assert "PAUSED" not in on_screen(app)
    writer.close()


async def test_pausing_holds_the_view_and_not_the_run(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "run-1" / FILE_NAME)
    fill(writer, Made(ticks=ticks(10)))
    app = app_on(tmp_path, writer.path)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("space")
        assert "PAUSED" in on_screen(app)
        add(writer, [tick(75.0)])
        writer.commit()
        await until(pilot, lambda: app.snapshot.tick is not None and app.snapshot.tick.t_s == 75.0)
        assert "00:10 / 03:00" in on_screen(app)
        await pilot.press("space")
        assert "01:15 / 03:00" in on_screen(app)
        assert "PAUSED" not in on_screen(app)
    writer.close()


async def test_a_runner_that_is_gone_is_reported(tmp_path: Path) -> None:
    now = [0.0]

    def follower(path: Path, **options: Any) -> Follower:
        return Follower(path, monotonic=lambda: now[0], alive=lambda *_: False, **options)

    app = app_on(tmp_path, write(tmp_path, Made(ticks=ticks(20), pid=4_000_000)), follower=follower)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        now[0] = 5.0
        await until(pilot, lambda: app.snapshot.phase is Phase.GONE)
        text = on_screen(app)
        assert "RUNNER GONE" in text
        assert "seatrial report 7f3a" in text
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 3  # as `watch` and `report` without a screen


async def test_a_view_that_is_held_can_be_let_go_after_the_runner_has_died(tmp_path: Path) -> None:
    now = [0.0]

    def follower(path: Path, **options: Any) -> Follower:
        return Follower(path, monotonic=lambda: now[0], alive=lambda *_: False, **options)

    app = app_on(tmp_path, write(tmp_path, Made(ticks=ticks(20), pid=4_000_000)), follower=follower)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("space")
        now[0] = 5.0
        await until(pilot, lambda: app.snapshot.phase is Phase.GONE)
        assert "PAUSED" in on_screen(app)
        await pilot.press("space")
        assert "RUNNER GONE" in on_screen(app)


async def test_a_run_that_is_being_started_is_not_started_twice(tmp_path: Path) -> None:
    started: list[str] = []
    may_go_on = threading.Event()

    def launch(name: str) -> Path:
        started.append(name)
        assert may_go_on.wait(20)
        raise LaunchError("too late")

    app = app_on(tmp_path, None, launch)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Picker) and "odd-input" in on_screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: started != [])
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Picker) and "odd-input" in on_screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "still on" in on_screen(app))
        may_go_on.set()
        await until(pilot, lambda: "too late" in on_screen(app))
    assert len(started) == 1


async def test_a_journal_that_cannot_be_read_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "run-1" / FILE_NAME
    path.parent.mkdir()
    path.write_text("not a journal")
    app = app_on(tmp_path, path)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.snapshot.phase is Phase.UNREADABLE)
        assert "cannot read the journal" in on_screen(app)
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 2


async def test_readonly_sends_nothing(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal, lambda _: tmp_path, readonly=True)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("x", "y", "f", "k", "y", "s")
        assert isinstance(app.screen, Bridge)
        assert "Stop" not in on_screen(app)
        await pilot.press("q", "s")
        assert isinstance(app.screen, Ask)
        assert commands(journal) == []


async def test_help_is_made_from_the_bindings(tmp_path: Path) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["mid-run"]()))
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        text = on_screen(app)
        for binding in Bridge.BINDINGS:
            assert getattr(binding, "id", "")
            if getattr(binding, "action", "") != "app.verdict":
                assert getattr(binding, "tooltip", "") in text
        await pilot.press("escape")
        assert isinstance(app.screen, Bridge)


async def test_it_fits_when_the_terminal_is_resized(tmp_path: Path) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["recovered"]()))
    async with app.run_test(size=(160, 48)) as pilot:
        await attached(pilot)
        assert "Gates" in on_screen(app)
        for width, height in ((80, 24), (60, 16), (120, 36), (59, 30), (80, 15), (200, 60), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            text = on_screen(app)
            if width < 60 or height < 16:
                assert f"seatrial needs 60x16; this is {width}x{height}" in text
                assert "Traffic" not in text
            else:
                assert "Traffic" in text
                assert "02:11 / 03:00" in text
                assert ("Drift" in text) == (width >= 78)
        assert isinstance(app.screen.query_one("#small"), Static)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["mid-run"]()))
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        os.kill(os.getpid(), number)
        await until(pilot, lambda: app._exit)
    assert app.return_code == code
    assert not asyncio.get_running_loop().remove_signal_handler(number)


async def test_leaving_from_the_picker_asks_about_a_live_run_too(tmp_path: Path) -> None:
    app = app_on(tmp_path, write(tmp_path, CASES["mid-run"]()))
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        await pilot.press("s", "q")
        assert isinstance(app.screen, Ask)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_reaches_no_terminal(tmp_path: Path, size: tuple[int, int], ascii_only: bool) -> None:
    journal = write(tmp_path, CASES["hostile"]())
    app = SeatrialApp(tmp_path, journal, None, False, read_catalogue=catalogue, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await attached(pilot)
        strips = app.screen._compositor.render_strips()
        assert len(strips) == size[1]
        assert {strip.cell_length for strip in strips} == {size[0]}
        text = "".join(strip.text for strip in strips)
        assert text.isprintable()
        assert "[bold red]" in text or ascii_only or size[0] < 100
        assert not ascii_only or [char for char in text if not char.isascii()] == []


async def test_a_frame_of_an_older_run_is_dropped(tmp_path: Path) -> None:
    journal = write(tmp_path, CASES["mid-run"]())
    app = app_on(tmp_path, journal)
    async with app.run_test(size=SIZE) as pilot:
        await attached(pilot)
        app._deliver(Snapshot(run_id="older"), source=0)
        await pilot.pause()
        assert app.snapshot.short_id == "7f3a"


def test_the_bar_marks_faults_and_is_full_at_the_verdict(tmp_path: Path) -> None:
    half = Follower(write(tmp_path / "a", CASES["recovered"]())).read()
    done = Follower(write(tmp_path / "b", CASES["verdict"]())).read()
    assert plain(progress(half, 18)) == "━━━━━━━━━━▼━━─────"
    assert plain(progress(done, 18)) == "━━━━━━━━━━▼━━━━━━━"
