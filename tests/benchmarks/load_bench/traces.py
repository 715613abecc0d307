"""Target 8: every format of traces, a million rows each, read in a process of its own; and replay at 0.1 to 100x.

The files are made up: lengths and blocks as in the published ones on average (a Mooncake prompt has 24 blocks), times a
few ms apart. Memory is the most that the whole process ever held, Python and numpy included.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from scenarios.journal import JournalWriter
from scenarios.observation import Observation, Outcome
from scenarios.traces import Trace, read_trace, replayed
from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.table import Row, medians

TARGET = 8
TITLE = "traces: a million rows of each format; replay at 0.1 to 100 times the speed"

_SECONDS, _MEGABYTES, _REPLAY_NS = 2.0, 200.0, 0.5
_START = datetime(2024, 5, 12)
_PIECE = 10_000
_ROOT = Path(__file__).resolve().parents[3]
_WINDOWS = 1_008  # of 600 s: a week

# read in a fresh interpreter, timed without its start; Linux counts in ru_maxrss what the parent held at the fork
_READER = """
import json, re, resource, sys, time
from pathlib import Path
from scenarios.traces import read_trace, read_windows
began = time.perf_counter()
read = (read_windows if sys.argv[2] == "windows" else read_trace)(Path(sys.argv[1]))
seconds = time.perf_counter() - began
if sys.platform == "linux":
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
print(json.dumps({"rows": len(read), "seconds": seconds, "peak": peak}))
"""


@dataclass(frozen=True)
class _Rows:
    """What the files are made of; times in ms."""

    at_ms: list[int]
    prompt: list[int]
    output: list[int]


def _rows(count: int) -> _Rows:
    rng = np.random.default_rng(8)
    gaps = rng.exponential(4.0, count)
    prompt = np.clip(rng.lognormal(np.log(9_000), 0.76, count), 1, 126_000).astype(int)
    output = np.clip(rng.lognormal(np.log(250), 0.8, count), 1, 4_000).astype(int)
    return _Rows(np.cumsum(gaps).astype(int).tolist(), prompt.tolist(), output.tolist())


def _azure_2023(rows: _Rows) -> Iterator[str]:
    yield "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    for at, prompt, output in zip(rows.at_ms, rows.prompt, rows.output, strict=True):
        yield f"{_START + timedelta(seconds=at // 1000)}.{at % 1000:03}5310,{prompt},{output}\r\n"


def _azure_2024(rows: _Rows) -> Iterator[str]:
    yield "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    for at, prompt, output in zip(rows.at_ms, rows.prompt, rows.output, strict=True):
        yield f"{_START + timedelta(milliseconds=at)}+00:00,{prompt},{output}\n"


def _burstgpt(rows: _Rows) -> Iterator[str]:
    yield "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    for at, prompt, output in zip(rows.at_ms, rows.prompt, rows.output, strict=True):
        yield f"{at // 1000},ChatGPT,{prompt},{output * (at % 50 > 0)},{prompt + output},Conversation log\n"


def _burstgpt_3(rows: _Rows) -> Iterator[str]:
    yield "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    for at, prompt, output in zip(rows.at_ms, rows.prompt, rows.output, strict=True):
        session = f"{at % 99_991:08x}-5ea7"
        yield f"{at / 1000},{session},{output / 40},GPT-4,{prompt},{output},{prompt + output},Conversation log\n"


def _mooncake(rows: _Rows) -> Iterator[str]:
    fresh = 1000
    for at, prompt, output in zip(rows.at_ms, rows.prompt, rows.output, strict=True):
        count = -(-prompt // 512)
        blocks = [0, at % 900, *range(fresh, fresh + count)][:count]
        fresh += count
        yield json.dumps({"timestamp": at, "input_length": prompt, "output_length": output, "hash_ids": blocks}) + "\n"


def _written(make: Callable[[_Rows], Iterator[str]]) -> Callable[[Path, _Rows], None]:
    def write(path: Path, rows: _Rows) -> None:
        with path.open("w", newline="") as file:
            file.writelines(make(rows))

    return write


def _journal(path: Path, rows: _Rows) -> None:
    writer = JournalWriter(path)
    observed = (
        Observation(
            index=index, due_ns=at * 1_000_000, outcome=Outcome.OK, end_ns=at, prompt_tokens=p, completion_tokens=o
        )
        for index, (at, p, o) in enumerate(zip(rows.at_ms, rows.prompt, rows.output, strict=True))
    )
    while piece := list(islice(observed, _PIECE)):
        writer.add_observations(piece)
        writer.commit()
    writer.close()


def _windows(path: Path, rows: _Rows) -> None:
    path.mkdir()
    lines = [
        f"{at % _WINDOWS * 600},{prompt / 9e3},{output / 250},Gamma,0.7,{output}\n"
        for at, (prompt, output) in enumerate(zip(rows.prompt, rows.output, strict=True))
    ]
    for client, first in enumerate(range(0, len(lines), _WINDOWS)):
        (path / f"chunk-{client}-trace.csv").write_text("".join(lines[first : first + _WINDOWS]))


_FORMATS: dict[str, Callable[[Path, _Rows], None]] = {
    "Azure 2023": _written(_azure_2023),
    "Azure 2024": _written(_azure_2024),
    "BurstGPT 1, 2": _written(_burstgpt),
    "BurstGPT 3": _written(_burstgpt_3),
    "Mooncake": _written(_mooncake),
    "our journal": _journal,
    "ServeGen windows": _windows,
}


def measure(quick: bool) -> list[Row]:
    """Seconds and peak memory of each format, and how far a replayed time is from what it should be."""
    count = 100_000 if quick else 1_000_000
    rows = _rows(count)
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="seatrial-traces-") as folder:
        for name, write in _FORMATS.items():
            path = Path(folder) / name
            write(path, rows)
            what = f"{name}, {count:,} rows"
            found += medians([_read(path, what, write is _windows) for _ in range(1 if quick else 3)])
            if write is _journal:
                found += _replays(read_trace(path))
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _read(path: Path, what: str, windows: bool) -> list[Row]:
    command = [sys.executable, "-c", _READER, str(path), "windows" if windows else "trace"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=False)
    if done.returncode:
        raise Unmeasured(f"{what}: {done.stderr.strip().splitlines()[-1]}")
    result = json.loads(done.stdout)
    files = [path] if path.is_file() else list(path.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    note = f"{result['rows'] / result['seconds']:,.0f} rows/s of {size:,.0f} MB"
    return [
        Row(TARGET, f"{what}: read in", result["seconds"], "s", _SECONDS, note=note),
        Row(TARGET, f"{what}: peak memory of the process", result["peak"], "MB", _MEGABYTES),
    ]


def _replays(trace: Trace) -> list[Row]:
    """The largest distance between a replayed time and the exact quotient: due times are whole ns, so half of one."""
    rows = []
    for speed in (0.1, 1.0, 7.0, 100.0):
        played, exact = replayed(trace, speed).at_ns.tolist(), Fraction(speed)
        error = max(abs(due - at / exact) for due, at in zip(played, trace.at_ns.tolist(), strict=True))
        rows.append(Row(TARGET, f"replay at {speed:g}x: largest error of a due time", float(error), "ns", _REPLAY_NS))
    return rows
