"""Files that requests come from, each read once for a scenario and its plan."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from scenarios.dataset import Dataset, read_dataset
from scenarios.definition import Arrivals
from scenarios.errors import DatasetError, DefinitionErrors, Mistake, TraceError
from scenarios.traces import Trace, read_trace, replayed


def trace_at(path: Path) -> Trace:
    """The trace of a file. Raises TraceError where it cannot be used."""
    try:
        stat = path.stat()
    except OSError as error:
        raise TraceError((Mistake(str(path), 0, f"cannot be read ({error.strerror})", "check the path"),)) from error
    return _trace(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _trace(path: Path, _changed_ns: int, _size: int) -> Trace:
    return read_trace(path)


def dataset_at(path: Path) -> Dataset:
    """The rows of a dataset file. Raises DatasetError where it cannot be used."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DatasetError((Mistake(str(path), 0, f"cannot be read ({error.strerror})", "check the path"),)) from error
    return _dataset(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _dataset(path: Path, _changed_ns: int, _size: int) -> Dataset:
    return read_dataset(path)


def recording_at(arrivals: Arrivals) -> Trace | None:
    """The trace that the arrivals follow, from their start, at their speed and for their duration; None: none.

    Raises DefinitionErrors for a file that is not the one that the scenario names.
    """
    recording = arrivals.recording
    if recording is None:
        return None
    trace = trace_at(Path(recording.path))
    demand_same(recording.path, trace.digest, recording.digest)
    return replayed(trace, arrivals.speed, recording.from_s, arrivals.duration_s * arrivals.speed)


def demand_same(path: str, digest: str, wanted: str) -> None:
    """Raises DefinitionErrors unless the file is the one whose digest the scenario took down."""
    if digest != wanted:
        what = f"is not the file that the scenario was read with (SHA-256 {digest[:16]}, not {wanted[:16]})"
        raise DefinitionErrors((Mistake(path, 0, what, "put that file back, or start over with this one"),))
