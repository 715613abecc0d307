"""Numbers and lines: one look for each unit, and nothing wider than its place."""

from __future__ import annotations

import math

import pytest

from console.tui import units
from console.tui.bigword import rows
from console.tui.paint import Role, crop, fit, flow, line, pad, plain, spread, to_ascii, width, wrap
from scenarios.result import Verdict


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.2134, "0.213"), (2.13, "2.130"), (21.3, "21.30"), (213.0, "213.0"), (99999.0, "99999"), (None, "-")],
)
def test_seconds_take_five_cells_at_most(value: float | None, shown: str) -> None:
    assert units.seconds(value) == shown


@pytest.mark.parametrize("show", [units.seconds, units.rate, units.percent, units.gib, units.whole, units.number])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_unknown_shows_as_a_dash(show: object, value: float | None) -> None:
    assert callable(show)
    assert show(value) == "-"


@pytest.mark.parametrize(
    ("t_s", "shown"),
    [(0, "00:00"), (72.9, "01:12"), (3723, "1:02:03"), (-4.2, "-0:04"), (None, "--:--"), (math.nan, "--:--")],
)
def test_the_clock(t_s: float | None, shown: str) -> None:
    assert units.clock(t_s) == shown


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.9, 1), (1.0, 1), (21, 30), (60, 60), (61, 80), (850, 1000)])
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert units.ceiling(value) == pytest.approx(top)


def test_wide_characters_are_measured_in_cells() -> None:
    assert fit("日本語", 5) == "日本…"
    assert width(line(pad("日本語", 5))) == 5
    assert width(crop(line("日本語日本語"), 4)) <= 4
    assert to_ascii("日✓é") == "??+?"


def test_the_left_gives_way_to_the_right() -> None:
    assert plain(spread(line("a long left side"), line("right"), 12)) == "a lon… right"


def test_chips_that_do_not_fit_are_counted() -> None:
    chips = [line((f"chip{i}", Role.TEXT)) for i in range(9)]
    lines = flow(chips, 20, 2)
    assert [plain(row) for row in lines] == ["chip0  chip1  chip2", "chip3  +5 more"]
    assert all(width(row) <= 20 for row in lines)


def test_words_wrap_and_the_last_line_says_that_some_are_missing() -> None:
    assert [plain(row) for row in wrap("one two three four five", 9, 2)] == ["one two", "three fo…"]
    assert wrap("one", 0, 3) == []


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_its_letters(verdict: Verdict) -> None:
    assert all(rows(letter)[0] for letter in verdict.value)
    assert len({len(row) for row in rows(verdict.value)}) == 1
    assert len(rows(verdict.value)[0]) <= 74
