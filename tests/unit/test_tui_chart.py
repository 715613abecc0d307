"""The charts: a fixed scale, honest gaps, clips that are marked."""

from __future__ import annotations

import math

import pytest

from console.tui.chart import GAP, Scale, Trace, Window, dots, framed, plot, sample
from console.tui.paint import Role, plain, width

WINDOW = Window(0.0, 10.0)


def text(
    traces: list[Trace], scale: Scale, cells: int, rows: int, window: Window = WINDOW, **options: bool
) -> list[str]:
    return [plain(line) for line in plot(traces, scale, window, cells, rows, **options)]


def test_a_flat_series_is_flat_at_its_height() -> None:
    assert text([Trace([0.4] * 8)], Scale(1.0), 4, 2) == ["    ", "⠉⠉⠉⠉"]
    assert text([Trace([0.0] * 8)], Scale(1.0), 4, 2) == ["    ", "⣀⣀⣀⣀"]
    assert text([Trace([1.0] * 8)], Scale(1.0), 4, 2) == ["⠉⠉⠉⠉", "    "]


def test_the_scale_is_fixed_so_half_the_values_draw_half_as_high() -> None:
    small = text([Trace([0.2] * 4, filled=True)], Scale(1.0), 2, 4)
    large = text([Trace([1.0] * 4, filled=True)], Scale(1.0), 2, 4)
    assert [row.strip() != "" for row in small] == [False, False, False, True]
    assert large == ["⣿⣿"] * 4


def test_what_lies_above_the_scale_is_clipped_and_marked() -> None:
    rows = plot([Trace([0.1, 0.1, 7.0, 7.0])], Scale(1.0), WINDOW, 2, 2)
    assert plain(rows[0])[1] == "▲"
    assert rows[0][-1].role is Role.BAD


def test_a_gap_in_the_data_stays_a_gap() -> None:
    assert text([Trace([0.5, 0.5, GAP, GAP, 0.5, 0.5])], Scale(1.0), 3, 1) == ["⠒ ⠒"]


def test_the_limit_is_a_line_where_no_data_lies_over_it() -> None:
    rows = plot([Trace([1.0, 1.0, GAP, GAP])], Scale(1.0, limit=0.99), WINDOW, 2, 2)
    assert plain(rows[0]) == "⠉╌"
    assert rows[0][1].role is Role.LIMIT


def test_a_fault_shades_its_time_and_leaves_the_data_alone() -> None:
    window = Window(0.0, 10.0, [(5.0, 7.4)])
    assert text([Trace([0.0] * 8)], Scale(1.0), 4, 2, window) == ["  ░ ", "⣀⣀⣀⣀"]


def test_without_unicode_only_ascii_is_drawn() -> None:
    window = Window(0.0, 10.0, [(9.0, 10.0)])
    rows = framed([Trace([0.2, 3.0, 0.4, GAP] * 6)], Scale(1.0, 0.5, ("1", "SLO")), window, 20, 6, ascii_only=True)
    assert rows
    assert all(plain(row).isascii() for row in rows)


def test_steep_changes_are_joined_by_a_vertical_line() -> None:
    rows = text([Trace([0.0, 1.0])], Scale(1.0), 1, 2)
    assert rows == ["⢸", "⣸"]


@pytest.mark.parametrize("cells", [0, 1, 5, 8, 9, 24, 53, 160])
@pytest.mark.parametrize("rows", [0, 1, 2, 4, 5, 12])
def test_a_framed_chart_never_outgrows_its_place(cells: int, rows: int) -> None:
    values = [math.sin(i) + 1 for i in range(dots(cells))]
    lines = framed([Trace(values, filled=True)], Scale(1.5, 1.0, ("1500000", "SLO")), WINDOW, cells, rows)
    assert len(lines) in (0, rows)
    assert all(width(line) == cells for line in lines)


def test_samples_keep_the_peak_of_a_column_and_join_neighbours() -> None:
    window = Window(0.0, 8.0)
    assert sample([0.0, 0.5, 4.0], [1.0, 3.0, 7.0], window, 8) == pytest.approx(
        [3, 4, 5, 6, 7, GAP, GAP, GAP], nan_ok=True
    )


def test_samples_do_not_join_across_a_missing_value() -> None:
    got = sample([0.0, 2.0, 4.0], [1.0, None, 1.0], Window(0.0, 8.0), 8)
    assert [math.isnan(value) for value in got] == [False, True, True, True, False, True, True, True]


def test_samples_outside_the_window_and_not_finite_are_left_out() -> None:
    got = sample([-1.0, 1.0, 2.0, 99.0], [5.0, math.inf, math.nan, 5.0], Window(0.0, 8.0), 4)
    assert all(math.isnan(value) for value in got)
