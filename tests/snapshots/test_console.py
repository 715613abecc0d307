"""What the console looks like, as SVG, on constructed journals. `pytest --snapshot-update` accepts a new look."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.tui.app import SeatrialApp
from console.tui.follow import Follower
from console.tui.snapshot import Phase
from console.tui.theme import DAY
from tests.snapshots.made_journals import CASES, catalogue, write

SIZES = {"80x24": (80, 24), "160x48": (160, 48)}
Compare = Callable[..., bool]


def app_on(directory: Path, case: str, **options: Any) -> SeatrialApp:
    """Attached to a made journal, with a clock that stands still."""
    still = partial(Follower, monotonic=lambda: 0.0)
    journal = write(directory, CASES[case]())
    return SeatrialApp(
        directory, journal, None, False, read_catalogue=catalogue, follower=still, **{"ascii_only": False, **options}
    )


def shown(*keys: str, theme: str = "") -> Callable[[Pilot[int]], Awaitable[None]]:
    """Wait for the journal's state, then press keys."""

    async def ready(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, SeatrialApp)
        if theme:
            app.theme = theme
        give_up_at = time.monotonic() + 20
        while app.snapshot.phase in (Phase.EMPTY, Phase.OPENING):
            assert time.monotonic() < give_up_at
            await pilot.pause(0.01)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()

    return ready


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_the_bridge(case: str, size: str, snap_compare: Compare, tmp_path: Path) -> None:
    keys = ["escape"] if case == "verdict" else []
    assert snap_compare(app_on(tmp_path, case), terminal_size=SIZES[size], run_before=shown(*keys))


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("s", "80x24"),
        ("s", "160x48"),
        ("f", "80x24"),
        ("x", "80x24"),
        ("q", "80x24"),
        ("question_mark", "80x24"),
        ("space", "160x48"),
    ],
)
def test_a_key(key: str, size: str, snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(app_on(tmp_path, "mid-run"), terminal_size=SIZES[size], run_before=shown(key))


@pytest.mark.parametrize("size", SIZES)
def test_the_verdict(size: str, snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(app_on(tmp_path, "verdict"), terminal_size=SIZES[size], run_before=shown())


@pytest.mark.parametrize("size", [(60, 16), (120, 36), (50, 12)])
def test_other_sizes(size: tuple[int, int], snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(app_on(tmp_path, "recovered"), terminal_size=size, run_before=shown())


def test_by_day(snap_compare: Compare, tmp_path: Path) -> None:
    app = app_on(tmp_path, "recovered")
    assert snap_compare(app, terminal_size=(160, 48), run_before=shown(theme=DAY.name))


def test_without_unicode(snap_compare: Compare, tmp_path: Path) -> None:
    app = app_on(tmp_path, "recovered", ascii_only=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=shown())


def test_without_colour(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_on(tmp_path, "fault"), terminal_size=(80, 24), run_before=shown())
