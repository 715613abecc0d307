"""Long runs, only with `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.journal import JournalReader
from scenarios.runs import journal_path
from tests.integration.test_run import engine_processes, pytestmark, run, write

__all__ = ["pytestmark"]  # skipped without the demo model, as there

MINUTES = 10


@pytest.mark.soak
def test_ten_minutes_with_a_kill_each_minute_lose_nothing_and_grow_little(tmp_path: Path) -> None:
    parts = ("all", "api", "decode")
    faults = "".join(
        f'[[faults]]\nkind = "engine.kill"\nat = "{60 * minute + 30}s"\npart = "{parts[minute % 3]}"\n'
        for minute in range(MINUTES)
    )
    runs = tmp_path / "runs"
    _, document = run(write(tmp_path, f"{MINUTES}m", faults), runs, within_s=90 * MINUTES)
    summary = document["summary"]
    assert sum(summary["outcomes"].values()) == summary["planned"] == 240 * MINUTES
    assert [one["cause"] for one in summary["recovery"]] == ["engine.kill"] * MINUTES
    assert all(one["recovered_s"] is not None and one["recovered_s"] < 10 for one in summary["recovery"])
    assert engine_processes(runs) == []
    with JournalReader(journal_path(runs, "r1")) as reader:
        rss = [tick.engine.rss for _, tick in reader.ticks() if tick.state == "running" and tick.engine.rss]
    assert max(rss[-100:]) < 1.5 * max(rss[40:140])
