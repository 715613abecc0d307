"""The wall clock is asked in few places, none of which measures anything."""

from __future__ import annotations

import re
from pathlib import Path

import scenarios

ROOT = Path(scenarios.__file__).parent
_ASKED = re.compile(
    r"\btime\.time(_ns)?\(|\bgmtime\(\)|localtime\(|\.now\(|\.utcnow\(|\.today\(|CLOCK_REALTIME|WALL_CLOCK"
)

MAY_ASK = {
    "wall_clock.py": "the clock itself",
    "faults/clock_step.py": "makes it jump",
    "runner/clock_steps.py": "watches it jump",
    "runner/record.py": "when a run started, and its last sign of life",
    "runner/resume.py": "how long a run was away, which is shown",
    "load/answer.py": "Retry-After with a date, from a server that sends no Date of its own",
    "journal/commands.py": "when a command was given",
    "runs.py": "the name of a run",
}


def test_nothing_that_measures_asks_for_the_wall_clock() -> None:
    asking = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if _ASKED.search("\n".join(line for line in path.read_text().splitlines() if not line.startswith("from ")))
    }
    assert asking == MAY_ASK.keys()
