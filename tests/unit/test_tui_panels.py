"""Every panel at every size and in every state: it keeps its place, and shows neither control characters nor None."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from msgspec import structs

from console.tui import drift, flags, gates, happenings, header, load, preview, traffic, ttft, verdict
from console.tui.clean import record
from console.tui.follow import Follower
from console.tui.notice import notice
from console.tui.paint import Drawing, plain, width
from console.tui.panel import Draw
from console.tui.preview import Entry
from console.tui.snapshot import Snapshot
from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario, Workload
from scenarios.tick import Event, InstrumentSample
from tests.snapshots.made_journals import (
    CASES,
    HOSTILE,
    Made,
    catalogue,
    hostile_document,
    run_info,
    tick,
    write,
)

PANELS: dict[str, Draw] = {
    "header": header.draw,
    "traffic": traffic.draw,
    "ttft": ttft.draw,
    "load": load.draw,
    "flags": flags.draw,
    "drift": drift.draw,
    "happenings": happenings.draw,
    "gates": gates.draw,
}
SIZES = [(14, 3), (18, 1), (24, 4), (24, 8), (28, 10), (36, 12), (52, 20), (100, 5), (158, 2), (24, 0), (0, 5)]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    made = {"empty": Snapshot()}
    for name, case in CASES.items():
        made[name] = Follower(write(tmp_path_factory.mktemp(name), case())).read()
    return made


def harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in text)


@pytest.mark.parametrize("case", ["empty", *CASES])
@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_keeps_its_place_in_every_state(panel: str, case: str, snapshots: dict[str, Snapshot]) -> None:
    for cells, rows in SIZES:
        drawing: Drawing = PANELS[panel](snapshots[case], cells, rows, False)
        assert len(drawing.lines) <= max(rows, 1), (cells, rows)
        shown = [plain(line) for line in drawing.lines] + [drawing.title, drawing.subtitle]
        assert all(harmless(text) for text in shown), (cells, rows)
        assert not any(word in text for word in ("None", "nan", "inf ") for text in shown), shown
        if cells >= 24:  # the bridge gives none less
            assert all(width(line) <= cells for line in drawing.lines), (cells, rows, shown)


def test_the_verdict_is_harmless_and_fits(tmp_path: Path) -> None:
    snapshot = Follower(write(tmp_path, Made(ticks=[], events=(), findings=(), document=hostile_document()))).read()
    for cells in (40, 73, 106):
        lines = verdict.lines(snapshot, cells, False)
        assert all(harmless(plain(line)) for line in lines)
        assert "[bold red]x[/]" in "".join(plain(line) for line in lines)


def test_the_chart_shows_the_fault_and_the_slo(snapshots: dict[str, Snapshot]) -> None:
    text = "\n".join(plain(line) for line in ttft.draw(snapshots["recovered"], 52, 20, False).lines)
    assert "SLO" in text
    assert "░" in text
    assert "╌" in text


def test_over_and_met_are_words_and_not_only_colours(snapshots: dict[str, Snapshot]) -> None:
    assert "met" in ttft.draw(snapshots["mid-run"], 52, 20, False).subtitle
    assert "over" in ttft.draw(snapshots["fault"], 52, 20, False).subtitle


def test_without_a_gpu_the_panel_says_why_and_shows_the_engine(snapshots: dict[str, Snapshot]) -> None:
    drawing = load.draw(snapshots["no-gpu"], 52, 20, False)
    text = "\n".join(plain(line) for line in drawing.lines)
    assert "no NVIDIA driver" in text
    assert "cpu 1.4 cores" in text
    assert "rss 0.9 GiB" in text
    assert "host CPU" in drawing.subtitle


def test_two_gpus_have_a_line_each(snapshots: dict[str, Snapshot]) -> None:
    drawing = load.draw(snapshots["two-gpus"], 24, 10, False)
    assert drawing.title.startswith("2 GPUs")
    assert [plain(line)[:8] for line in drawing.lines[:2]] == [" 0  65 %", " 1   - %"]


def test_states_that_have_no_numbers_are_put_in_words(snapshots: dict[str, Snapshot]) -> None:
    assert "press s" in plain(notice(snapshots["empty"], 60, 5)[0])
    assert "preparing" in plain(notice(snapshots["preparing"], 60, 5)[0])
    assert notice(snapshots["mid-run"], 60, 5) == []


def test_while_the_noise_floor_is_measured_the_console_says_how_far_it_is(tmp_path: Path) -> None:
    measuring = structs.replace(tick(-0.3), state="preflight", sent=0, instrument=InstrumentSample(preflight=0.4))
    lines = notice(Follower(write(tmp_path, Made(ticks=[measuring]))).read(), 80, 5)
    assert "noise floor, 40% done" in plain(lines[0])


@pytest.mark.parametrize(("sent", "told"), [(0, True), (5, False)])
def test_a_run_that_failed_before_it_sent_anything_says_all_of_why(sent: int, told: bool, tmp_path: Path) -> None:
    last = structs.replace(tick(1.0), sent=sent)
    why = Event(t_s=0.0, kind="run.failed", text="nothing answers at http://localhost:1; is the server started?")
    made = Made(ticks=[last], run=run_info("failed"), events=(why,))
    text = " ".join(plain(line).strip() for line in notice(Follower(write(tmp_path, made)).read(), 24, 12))
    assert text.endswith("is the server started?") is told


def test_a_preview_fits_and_says_what_is_wrong() -> None:
    for entry in catalogue():
        for cells, rows in ((20, 6), (50, 18), (120, 44)):
            lines = preview.lines(entry, cells, rows, False)
            assert len(lines) <= rows
            assert all(width(line) <= cells for line in lines if cells >= 50)
    broken = preview.lines(catalogue()[-1], 60, 18, False)
    assert "the nearest is 'rate'" in " ".join(plain(line) for line in broken)


def test_a_hostile_scenario_is_previewed_harmlessly() -> None:
    scenario = Scenario(
        name=HOSTILE,
        about=HOSTILE,
        workload=Workload(mix=((HOSTILE, 1.0),)),
        arrivals=Arrivals(ArrivalKind.CONSTANT, 10.0, rate=1.0),
        gates=(GateSpec(metric=HOSTILE, maximum=1.0),),
    )
    lines = preview.lines(Entry(HOSTILE, record(scenario)), 60, 30, False)
    assert all(harmless(plain(line)) for line in lines[1:])
