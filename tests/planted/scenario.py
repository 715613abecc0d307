"""The chaos search that is let loose on the planted server: questions whose answers are known, a short timeout."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from tests.planted.server import answer_to

SERVER = Path(__file__).with_name("server.py")
_TEXT = """\
name = "planted"
about = "A chaos search against a server with one bug or none"
timeout = "1500ms"
[workload]
profile = "dataset"
file = "questions.jsonl"
[chaos]
budget = "{budget_s:g}s"
most_requests = 12
settle = "1s"
[[gates]]
metric = "error_rate"
max = 0
phase = "after"
"""


def write_scenario(folder: Path, budget_s: float, known: bool = True) -> Path:
    """Write scenario and questions, with the right answers or without, and return the scenario's path."""
    questions = [f"Add {17 * n + 3} and {29 * n + 11}." for n in range(40)]
    rows = (
        {"prompt": question, **({"answer": "".join(answer_to(question))} if known else {})} for question in questions
    )
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "planted.toml"
    path.write_text(_TEXT.format(budget_s=budget_s))
    return path


def launch(bug: str, folder: Path) -> str:
    """The command that starts the server, with `{port}` for the port that it is to listen on."""
    words = (sys.executable, str(SERVER), "--bug", bug, "--spool", str(folder / "spool.json"))
    return f"{shlex.join(words)} --port {{port}}"
