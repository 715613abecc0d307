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
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from scenarios.errors import Mistake, TraceError
from scenarios.traces.broken import refuse

WINDOW_S = 600.0  # in the published files; taken for a window that stands alone
_FAMILIES = {"gamma": False, "weibull": True, "": False}
_FIX = "write start, rate, cv, Gamma or Weibull, and its arguments"


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """One client during one window: requests at `rate` a second, with gaps of coefficient of variation `cv`.

    The gaps are Weibull or else gamma numbers. Rate and cv of the window are kept; the arguments of the fitted
    distribution only have to be numbers, since they follow from these two. `client`: from 0, in the order of the files.
    """

    client: int
    start_s: float
    for_s: float
    rate: float
    cv: float
    weibull: bool


def read_windows(path: Path) -> tuple[ClientWindow, ...]:
    """The windows in one client's file, or in all `*.csv` files of a directory, by client and time, without idle ones.

    Raises TraceError with the first broken rows.
    """
    files = sorted(path.glob("*.csv"), key=_by_number) if path.is_dir() else [path]
    windows = [window for client, file in enumerate(files) for window in _client(file, client)]
    if not windows:
        what = "holds no window in which a client asks for something"
        raise TraceError((Mistake(str(path), 0, what, "give a client's file or a directory of them"),))
    return tuple(windows)


def _by_number(file: Path) -> tuple[object, ...]:
    """chunk-2 before chunk-10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name))


def _client(file: Path, client: int) -> list[ClientWindow]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fix = "check the path and the file"
        raise TraceError((Mistake(str(file), 0, f"cannot be read ({error})", fix),)) from error
    rows: list[tuple[float, float, float, bool]] = []
    mistakes: list[Mistake] = []
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for fields in reader:
            fields = [field.strip() for field in fields]
            if not any(fields) or (reader.line_num == 1 and fields[0][:1].isalpha()):
                continue
            row = _row(fields)
            if isinstance(row, str):
                mistakes.append(Mistake(str(file), reader.line_num, row, _FIX))
            elif rows and row[0] <= rows[-1][0]:
                what = f"starts at {row[0]:g} s, and the window before it at {rows[-1][0]:g} s"
                mistakes.append(Mistake(str(file), reader.line_num, what, "sort the windows by their start"))
            else:
                rows.append(row)
    except csv.Error as error:
        mistakes.append(Mistake(str(file), reader.line_num, str(error), _FIX))
    refuse(str(file), mistakes)
    for_s = min((later[0] - earlier[0] for earlier, later in pairwise(rows)), default=WINDOW_S)
    return [ClientWindow(client, start, for_s, rate, cv, weibull) for start, rate, cv, weibull in rows if rate > 0.0]


def _row(fields: list[str]) -> tuple[float, float, float, bool] | str:
    """Start, rate, cv and whether the gaps are Weibull; or what is wrong."""
    if len(fields) < 3:
        return f"{len(fields)} fields are too few"
    name = fields[3].lower() if len(fields) > 3 else ""
    if name not in _FAMILIES:
        return f"{fields[3]!r} is no distribution that is known"
    try:
        start, rate, cv, *_ = [float(field or "nan") for field in (*fields[:3], *fields[4:])]
    except ValueError as error:
        return str(error)
    if rate == 0.0 and math.isnan(cv):  # an idle window has no gaps
        cv = 0.0
    if not all(0.0 <= number < math.inf for number in (start, rate, cv)):
        return "start, rate and cv are not all numbers from 0 up"
    return start, rate, cv, _FAMILIES[name]
