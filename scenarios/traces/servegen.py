"""ServeGen's description of traffic: for each client and window its rate and how its gaps are spread.

Xiang et al., ServeGen: Workload Characterization and Generation of Large Language Model Serving in Production (2025).
One CSV file for each client and a row for each window: its start (s), the rate (requests/s), the coefficient of
variation of the gaps, and the name (Gamma or Weibull) and the arguments of a distribution fitted to them. Windows are
of one length, the shortest distance between two starts. A header line may stand above.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from scenarios.errors import Mistake, TraceError
from scenarios.traces.broken import refuse
from scenarios.traces.trace import Int32s

WINDOW_S = 600.0  # in the published files; taken where windows stand alone
_FAMILIES = {"gamma": False, "weibull": True, "": False}
_FIX = "write start, rate, cv, Gamma or Weibull, and its arguments"
_LEAST = 3  # fields


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """One client during one window: `rate` requests a second, with gaps of coefficient of variation `cv`.

    The gaps are Weibull or else gamma numbers. `client`: from 0, in the order of the files. Rate and cv of the window
    are kept; the arguments of the fitted distribution follow from them and are not read.
    """

    client: int
    start_s: float
    for_s: float
    rate: float
    cv: float
    weibull: bool


@dataclass(frozen=True, slots=True, eq=False)
class Windows(Sequence[ClientWindow]):
    """Windows in which a client asks for something, by client and time; every array has one entry for each."""

    for_s: float
    client: Int32s
    start_s: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    cv: npt.NDArray[np.float64]
    weibull: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.client)

    @overload
    def __getitem__(self, at: int) -> ClientWindow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ClientWindow, ...]: ...
    def __getitem__(self, at: int | slice) -> ClientWindow | tuple[ClientWindow, ...]:
        if isinstance(at, slice):
            return tuple(self[row] for row in range(*at.indices(len(self))))
        return ClientWindow(
            int(self.client[at]),
            float(self.start_s[at]),
            self.for_s,
            float(self.rate[at]),
            float(self.cv[at]),
            bool(self.weibull[at]),
        )


def read_windows(path: Path) -> Windows:
    """The windows in one client's file, or in all `*.csv` files of a directory, without idle ones.

    Raises TraceError with the first broken rows.
    """
    files = sorted(path.glob("*.csv"), key=_by_number) if path.is_dir() else [path]
    numbers = [_client(file) for file in files]
    counts = [len(client) for client in numbers]
    client = np.repeat(np.arange(len(files), dtype=np.int32), counts)
    start_s, rate, cv, weibull = np.concatenate(numbers).T if numbers else np.empty((4, 0))
    gaps = np.diff(start_s)[np.diff(client) == 0]
    busy = rate > 0.0
    if not busy.any():
        what = "holds no window in which a client asks for something"
        raise TraceError((Mistake(str(path), 0, what, "give a client's file or a directory of them"),))
    return Windows(
        for_s=float(gaps.min(initial=math.inf)) if len(gaps) else WINDOW_S,
        client=client[busy],
        start_s=start_s[busy],
        rate=rate[busy],
        cv=cv[busy],
        weibull=weibull[busy] != 0.0,
    )


def _by_number(file: Path) -> tuple[object, ...]:
    """chunk-2 before chunk-10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name))


def _client(file: Path) -> npt.NDArray[np.float64]:
    """Start, rate, cv and 1 for Weibull (else 0) of each row of a file."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fix = "check the path and the file"
        raise TraceError((Mistake(str(file), 0, f"cannot be read ({error})", fix),)) from error
    rows: list[tuple[float, float, float, bool]] = []
    mistakes: list[Mistake] = []
    before = -1.0
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for fields in reader:
            if not any(fields) or (reader.line_num == 1 and fields[0].strip()[:1].isalpha()):
                continue
            try:
                row = _row(fields)
                if row[0] <= before:
                    raise ValueError(f"starts at {row[0]:g} s, and the window before it at {before:g} s")
                before = row[0]
                rows.append(row)
            except ValueError as error:
                mistakes.append(Mistake(str(file), reader.line_num, str(error), _FIX))
    except csv.Error as error:
        mistakes.append(Mistake(str(file), reader.line_num, str(error), _FIX))
    refuse(str(file), mistakes)
    return np.array(rows, np.float64).reshape(-1, 4)


def _row(fields: list[str]) -> tuple[float, float, float, bool]:
    """The numbers of a row. Raises ValueError."""
    if len(fields) < _LEAST:
        raise ValueError(f"{len(fields)} fields are too few")
    start, rate = float(fields[0]), float(fields[1])
    cv = float(fields[2]) if rate != 0.0 else 0.0  # an idle window has no gaps
    name = fields[3].strip().lower() if len(fields) > _LEAST else ""
    if name not in _FAMILIES:
        raise ValueError(f"{fields[3]!r} is no distribution that is known")
    if not (0.0 <= start < math.inf and 0.0 <= rate < math.inf and 0.0 <= cv < math.inf):
        raise ValueError("start, rate and cv are not all numbers from 0 up")
    return start, rate, cv, _FAMILIES[name]
