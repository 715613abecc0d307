"""The table of the load generator's benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.load_bench.table import (
    BEGIN,
    END,
    Document,
    Row,
    load,
    medians,
    merged,
    not_run,
    render,
    save,
    write_into,
)


def test_a_bound_is_met_on_its_own_side_and_never_by_what_was_not_measured() -> None:
    assert Row(1, "x", 50.0, "µs", 50.0).met
    assert Row(1, "x", 50.1, "µs", 50.0).met is False
    assert Row(1, "x", 50.1, "/s", 50.0, at_least=True).met
    assert Row(1, "x", float("nan"), "/s", 50.0, at_least=True).met is False
    assert Row(1, "x", 1.0).met is None
    assert not_run(1, "x", "no compiler").verdict == "not run: no compiler"


def test_rounds_become_medians_that_say_how_far_they_lie_apart() -> None:
    rounds = [[Row(1, "x", value, "µs", 10.0, note="of three")] for value in (7.0, 30.0, 5.0)]
    (row,) = medians(rounds)
    assert (row.measured, row.met, row.ratio) == (7.0, True, "0.70")
    assert row.note == "median of 3 rounds, 5.00 µs to 30.00 µs; of three"
    assert medians(rounds[:1]) == rounds[0]


def test_a_target_measured_again_replaces_its_rows_and_goes_into_the_document(tmp_path: Path) -> None:
    document = merged(Document(), 1, [Row(1, "old", 1.0)], "here")
    document = merged(merged(document, 2, [Row(2, "other", 1.0)], "here"), 1, [Row(1, "new", 2.0)], "there")
    save(tmp_path / "rows.json", document)
    assert load(tmp_path / "rows.json") == document
    assert [row.what for row in document.rows] == ["other", "new"]
    document = merged(document, 1, [Row(1, "new", 2.0)], "there", "| a table of its own |")
    assert render(document).endswith("\n\n| a table of its own |")
    assert "of its own" not in render(merged(document, 1, [], "there"))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into(page, "new | table")
    assert page.read_text() == f"before\n{BEGIN}\nnew | table\n{END}\nafter\n"
    with pytest.raises(ValueError, match="needs one line"):
        write_into(tmp_path / "rows.json", "")
