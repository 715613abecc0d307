"""The runs directory: one folder for each run, holding its journal and logs."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from scenarios.errors import JournalError, RunNotFound
from scenarios.journal import FILE_NAME, JournalReader
from scenarios.result import ResultDocument, RunInfo


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run as the list shows it; `problem` says why a journal could not be read."""

    id: str
    path: Path
    info: RunInfo | None
    document: ResultDocument | None
    problem: str = ""


def runs_dir(override: Path | None = None) -> Path:
    """Where runs are kept: `override`, else $SEATRIAL_HOME/runs, else the platform's data directory."""
    if override is not None:
        return override
    home = os.environ.get("SEATRIAL_HOME")
    return (Path(home) if home else Path(platformdirs.user_data_dir("seatrial", appauthor=False))) / "runs"


def new_run_id() -> str:
    """Sortable by time to 4 ms, and short enough at its end to be said aloud."""
    second, fraction = divmod(time.time_ns(), 1_000_000_000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(second))
    return f"{stamp}-{fraction * 256 // 1_000_000_000:02x}{secrets.token_hex(2)}"


def journal_path(directory: Path, run_id: str) -> Path:
    return directory / run_id / FILE_NAME


def list_runs(directory: Path) -> list[RunEntry]:
    """Every run, newest first; an unreadable journal is listed with its problem, not hidden."""
    if not directory.is_dir():
        return []
    return [_entry(path) for path in sorted(directory.glob(f"*/{FILE_NAME}"), reverse=True)]


def _entry(path: Path) -> RunEntry:
    try:
        with JournalReader(path) as reader:
            return RunEntry(path.parent.name, path, reader.run(), reader.document())
    except JournalError as error:
        return RunEntry(path.parent.name, path, None, None, str(error))


def find_run(directory: Path, name: str) -> Path:
    """The journal of the run called `name`: "last", a whole id, or the start or end of one; or a journal's own path."""
    if Path(name).is_file():
        return Path(name)
    ids = sorted((path.parent.name for path in directory.glob(f"*/{FILE_NAME}")), reverse=True)
    if not ids:
        raise RunNotFound(f"no runs in {directory}; `seatrial run SCENARIO` makes one")
    if name == "last":
        return journal_path(directory, ids[0])
    hits = [run_id for run_id in ids if run_id == name] or [i for i in ids if i.startswith(name) or i.endswith(name)]
    if len(hits) != 1:
        what = "no run" if not hits else f"{len(hits)} runs"
        raise RunNotFound(f"{what} called {name!r} in {directory}; `seatrial runs` lists them")
    return journal_path(directory, hits[0])
