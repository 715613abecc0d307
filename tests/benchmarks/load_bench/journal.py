"""Target 12: nothing is lost but a second, and a million requests fit: kills at random, and runs at scale."""

from __future__ import annotations

from tests.benchmarks.load_bench import crash, scale
from tests.benchmarks.load_bench.table import Row

TARGET = 12
TITLE = "crash-safe: random kill -9, resume, 1 M requests"


def measure(quick: bool) -> list[Row]:
    """100 kills and a million requests; 10 and 50,000 where `quick`."""
    crashes = crash.crashes(10 if quick else 100)
    failed = [one.problem for one in crashes if one.problem]
    made_up = scale.made_up(1_000_000)
    sent = scale.sent(*((50_000, 2_000) if quick else (1_000_000, 4_000)))
    of = f"{sent.requests:,} requests in {sent.run_s:,.0f} s, {sent.outcomes}"
    return [
        Row(TARGET, f"kills that went wrong, of {len(crashes)}", len(failed), "", 0, note="; ".join(failed)),
        Row(TARGET, "most that a kill lost", max(one.lost_s for one in crashes), "s", crash.MOST_LOST_S),
        Row(TARGET, "memory of the runner", sent.memory.runner, "MB", 300, note=of),
        Row(TARGET, "memory of the workers", sent.memory.workers, "MB", 300, note=of),
        Row(TARGET, "memory of the process that judges it", sent.memory.judge, "MB", 300, note=of),
        Row(TARGET, "report of the run", sent.report_s, "s", 10, note=of),
        Row(TARGET, "report of 1 M made-up observations", made_up.report_s, "s", 10),
        Row(TARGET, "memory of that report", made_up.report_mb, "MB", 300),
        Row(TARGET, "journal of 1 M made-up observations", made_up.journal_mb, "MB"),
    ]
