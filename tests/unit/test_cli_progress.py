"""Progress on stderr: one rewritten line for a person, plain lines for a log."""

from __future__ import annotations

import io
import os

import msgspec
import pytest
from test_report_samples import NASTY, make_tick

from console.progress import LineProgress, PlainProgress, bar, choose, clock, event_line, tick_line
from scenarios.report.layout import cells
from scenarios.tick import Event, InstrumentSample


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_person_gets_the_rewritten_line_unless_plain_is_asked_for_or_the_terminal_is_dumb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(choose(plain=False, stream=Screen()), LineProgress)
    assert isinstance(choose(plain=True, stream=Screen()), PlainProgress)
    assert isinstance(choose(plain=False, stream=io.StringIO()), PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose(plain=False, stream=Screen()), PlainProgress)


@pytest.mark.parametrize("width", [40, 79, 119, 200])
def test_the_line_fits_its_width_and_leaves_out_whole_facts(width: int) -> None:
    line = tick_line(make_tick(), width)
    assert cells(line) <= width
    assert line.startswith("running")
    assert "01:31 / 03:00" in line


def test_the_line_says_what_matters() -> None:
    line = tick_line(make_tick(), 200)
    for part in ("due 4.0/s", "done 3.9/s", "in flight 7", "ttft p95 412 ms", "shed 2", "not ok 1", "gates ✓·"):
        assert part in line


def test_while_the_noise_floor_is_measured_the_bar_shows_how_much_of_it_is_over() -> None:
    tick = msgspec.structs.replace(make_tick(-0.3, "preflight"), instrument=InstrumentSample(preflight=0.5))
    assert tick_line(tick, 80).startswith("preflight ██████░░░░░░")


def test_plain_lines_come_every_five_seconds_at_each_state_and_on_each_event() -> None:
    log = io.StringIO()
    progress = PlainProgress(log)
    for quarter in range(-8, 48):
        progress.tick(make_tick(quarter / 4, "preparing" if quarter < 0 else "running"))
    progress.event(Event(t_s=12.0, kind="fault.start", text="engine.kill"))
    lines = log.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["preparing", "running", "running", "running", "12.0"]


def test_events_scroll_by_above_the_rewritten_line() -> None:
    screen = Screen()
    progress = LineProgress(screen)
    progress.tick(make_tick())
    progress.event(Event(t_s=12.0, kind="x", text=NASTY, recovery_s=2.0))
    progress.close()
    shown = screen.getvalue()
    assert shown.endswith("\r\x1b[2K")
    assert "\x1b]" not in shown
    assert shown.count("\n") == 1


def test_an_event_says_how_long_recovery_took() -> None:
    text = event_line(Event(t_s=12.0, kind="fault.end", text="engine.kill", recovery_s=2.0))
    assert text == "   12.0 s  fault.end: engine.kill (recovered after 2 s)"


def test_the_rewritten_line_is_not_redrawn_more_than_five_times_a_second() -> None:
    screen, now = Screen(), [0.0]
    progress = LineProgress(screen, lambda: now[0])
    for step in range(100):
        now[0] = step / 100
        progress.tick(make_tick())
    assert screen.getvalue().count("\x1b[2K") == 5


def test_a_stderr_that_has_gone_away_does_not_stop_the_run() -> None:
    for progress in (PlainProgress(Gone()), LineProgress(Gone())):
        progress.tick(make_tick())
        progress.event(Event(t_s=0.0, kind="x", text="x"))
        progress.close()


def test_a_tick_without_numbers_is_shown_too() -> None:
    tick = msgspec.structs.replace(make_tick(-0.3, "preparing"), duration_s=0.0, outcomes={}, gates=())
    assert "00:00  due" in tick_line(tick, 100)


def test_a_run_without_a_duration_is_as_far_as_its_requests_are_done() -> None:
    tick = msgspec.structs.replace(make_tick(), duration_s=0.0, planned=200, done=100)
    assert "██████░░░░░░" in tick_line(tick, 100)


@pytest.mark.parametrize(("span_s", "text"), [(-1, "00:00"), (75.9, "01:15"), (3600, "1:00:00")])
def test_clocks(span_s: float, text: str) -> None:
    assert clock(span_s) == text


def test_a_bar_never_leaves_its_columns() -> None:
    assert [len(bar(fraction)) for fraction in (-1, 0, 0.5, 1, 9)] == [12] * 5


def test_a_narrow_terminal_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda _: os.terminal_size((50, 24)))
    screen = Screen()
    LineProgress(screen).tick(make_tick())
    assert cells(screen.getvalue().removeprefix("\r\x1b[2K")) < 50
