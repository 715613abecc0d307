"""Every command of the README that needs neither a terminal nor another server is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_run import pytestmark, write

__all__ = ["pytestmark"]  # skipped without the demo model, as there

ROOT = Path(__file__).resolve().parents[2]
VERDICTS = (0, 1, 3, 4)
OUR_SERVER = f"{shlex.quote(sys.executable)} -m console serve --port {{port}}"
NOT_HERE = ("--start", "--target", "--model", "serve")  # a terminal, a server elsewhere, a download, no end of its own


def commands() -> list[list[str]]:
    """The arguments of each `seatrial ...` line without its remark; runs first, then their readers."""
    lines = re.findall(r"^    seatrial (\S.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)
    found = [shlex.split(re.split(r"\s{2,}", line)[0]) for line in lines]
    here = [words for words in found if not set(words) & set(NOT_HERE)]
    for words in here:
        if "--launch" in words:  # a server of ours stands in for one that need not be on this machine
            words[words.index("--launch") + 1] = OUR_SERVER
    return sorted(here, key=lambda words: words[0] != "run")


@pytest.mark.timeout(300)
def test_the_readmes_commands_do_what_it_says(tmp_path: Path) -> None:
    write(tmp_path).rename(tmp_path / "my-trial.toml")
    environment = {**os.environ, "SEATRIAL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    listed = commands()
    assert {words[0] for words in listed} >= {"run", "scenarios", "runs", "show", "watch", "report", "export", "doctor"}
    for words in listed:
        shorter = ["--duration", "4s", "--preflight", "500ms"] if words[0] == "run" else []
        done = subprocess.run(
            [sys.executable, "-m", "console", *words, *shorter],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if words[0] == "resume":  # the last run is complete
            assert (done.returncode, "is complete" in done.stderr) == (2, True), done.stderr
            continue
        if words[0] == "inject":
            assert (done.returncode, "is over" in done.stderr) == (2, True), done.stderr
            continue
        assert done.returncode in (VERDICTS if words[0] in ("run", "watch", "report") else (0,)), (words, done.stderr)
        assert done.stdout, words
        assert "Traceback" not in done.stderr, (words, done.stderr)
