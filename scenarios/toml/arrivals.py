"""`[arrivals]`: when requests start."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from scenarios.arrivals import NANO
from scenarios.definition import ArrivalKind, Arrivals, Recording, Window
from scenarios.rates import expected_count
from scenarios.sources.files import trace_at
from scenarios.toml.files import read_file
from scenarios.toml.keys import (
    ALL_ARRIVAL_KEYS,
    ARRIVAL_KEYS,
    FASTEST,
    HOMES,
    LONGEST_S,
    MOST_REQUESTS,
    PIECE_KEYS,
)
from scenarios.toml.think import BURSTY, read_think
from scenarios.toml_table import Table
from scenarios.traces import Trace, read_windows
from scenarios.traces.trace import SPEEDS

# Where a spike stands when its author does not say: shares of the run's duration.
SPIKE_AT, SPIKE_FOR = 0.4, 1 / 6
MOST_PERIODS = 1000
MOST_WINDOWS = 20_000  # of all clients together
MOST_TIMES = 10_000
RECORDING_PARTS = 200  # a preview is not wider
STEADY = 0.05  # the lowest coefficient of variation that can be asked for


def read_arrivals(top: Table) -> Arrivals | None:
    table = top.table("arrivals", required='kind = "poisson", rate = 2.0 and duration = "1m"')
    if table is None:
        return None
    table.refuse_unknown(ALL_ARRIVAL_KEYS, HOMES)
    word = table.word("kind", tuple(kind.value for kind in ArrivalKind), "arrival kind", required='"poisson"')
    if word is None:
        for key in ("rate", "base", "peak"):  # wrong for every kind
            table.number(key, low=0.0, high=FASTEST)
        table.duration("duration", above=0.0, high=LONGEST_S)
        return None
    kind = ArrivalKind(word)
    own = ARRIVAL_KEYS[kind]
    for key in ALL_ARRIVAL_KEYS[1:]:
        if key in table and key not in own:
            table.refuse(key, f"{key} does not belong to arrivals of kind {kind}", f"{kind} takes {', '.join(own)}")
    noted = table.noted
    arrivals = _of_kind(table, kind)
    if arrivals is None or table.noted > noted:
        return None
    if (count := expected_count(arrivals)) > MOST_REQUESTS:
        what = f"the plan would hold about {count:,.0f} requests"
        key = next((key for key in ("duration", "requests", "windows") if key in table), "file")
        table.refuse(key, what, f"stay under {MOST_REQUESTS:,}: lower the rate or the duration")
    return arrivals


def _of_kind(table: Table, kind: ArrivalKind) -> Arrivals | None:
    match kind:
        case ArrivalKind.WINDOWS:
            return _read_windows(table)
        case ArrivalKind.TRACE:
            return _read_trace(table)
        case ArrivalKind.TIMES:
            return _read_times(table)
        case ArrivalKind.CLOSED:
            users = table.whole("concurrency", low=1, high=MOST_REQUESTS, required="8")
            requests = table.whole("requests", low=1, high=MOST_REQUESTS, required="200")
            think = read_think(table)
            return Arrivals(kind, 0.0, concurrency=users or 0, requests=requests or 0, think=think)
    own = ARRIVAL_KEYS[kind]
    duration_s = table.duration("duration", required=own["duration"], above=0.0, high=LONGEST_S)
    found: dict[str, float | None] = dict.fromkeys(("rate", "base", "peak"), 0.0)
    for key in found.keys() & own.keys():
        floor = {"low": 0.0} if key == "base" else {"above": 0.0}  # base 0: nothing but the spike, a ramp from nothing
        needed = "" if "rates" in table else own[key] or "4.0"
        found[key] = table.number(key, required=needed, high=FASTEST, **floor)
    cv = table.number("cv", low=STEADY, high=BURSTY) if "cv" in own else None
    spike = _read_spike(table, duration_s) if kind is ArrivalKind.SPIKE else (0.0, 0.0)
    polygon = "rates" in table  # which needs neither base nor peak
    if duration_s is None or spike is None or (None in found.values() and not polygon):
        return None
    rate, base, peak = (found[key] or 0.0 for key in ("rate", "base", "peak"))
    if kind in (ArrivalKind.SPIKE, ArrivalKind.DIURNAL) and peak <= base and "rates" not in table:
        what = (
            f"the {'spike' if kind is ArrivalKind.SPIKE else 'day'}'s peak ({peak:g}) is not above its base ({base:g})"
        )
        table.refuse("peak", what, "raise peak or lower base")
    arrivals = Arrivals(kind, duration_s, rate, base, peak, *spike, cv=1.0 if cv is None else cv)
    return _read_wave(table, arrivals) if kind is ArrivalKind.DIURNAL else arrivals


def _read_spike(table: Table, duration_s: float | None) -> tuple[float, float] | None:
    """Start and length of the spike in seconds."""
    at_s = table.duration("spike_at", low=0.0)
    for_s = table.duration("spike_for", above=0.0)
    if duration_s is None or (at_s is None and "spike_at" in table) or (for_s is None and "spike_for" in table):
        return None
    at_s = duration_s * SPIKE_AT if at_s is None else at_s
    if at_s >= duration_s:
        what = f"the spike starts at {at_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_at", what, "start it earlier")
        return None
    if for_s is None:
        for_s = min(duration_s * SPIKE_FOR, duration_s - at_s)
    if at_s + for_s > duration_s + 1e-9:
        what = f"the spike ends at {at_s + for_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_for", what, f"make spike_for at most {duration_s - at_s:g}")
        return None
    return at_s, for_s


def _read_times(table: Table) -> Arrivals | None:
    """Due times one by one."""
    duration_s = table.duration(
        "duration", required=ARRIVAL_KEYS[ArrivalKind.TIMES]["duration"], above=0.0, high=LONGEST_S
    )
    if "at" not in table:
        table.refuse(None, "missing key 'at' in [arrivals]", f"add at = {ARRIVAL_KEYS[ArrivalKind.TIMES]['at']}")
        return None
    at_s = table.numbers("at", low=0.0, high=LONGEST_S, fewest=1, most=MOST_TIMES)
    if at_s is None or duration_s is None:
        return None
    if list(at_s) != sorted(at_s):
        table.refuse("at", "at is not in order", "write the earliest time first")
    if max(at_s) >= duration_s:
        what = f"a request is due at {max(at_s):g} s, after the end of the run ({duration_s:g} s)"
        table.refuse("at", what, "make it earlier or the run longer")
    return Arrivals(ArrivalKind.TIMES, duration_s, at_s=at_s)


def _read_wave(table: Table, arrivals: Arrivals) -> Arrivals:
    """The diurnal keys beside base and peak."""
    period_s = table.duration("period", low=arrivals.duration_s / MOST_PERIODS, high=LONGEST_S)
    phase = table.number("phase", low=0.0, high=1.0)
    rates = table.numbers("rates", low=0.0, high=FASTEST, fewest=2, most=1440)
    for key in ("base", "peak"):
        if rates and key in table:
            table.refuse(key, f"{key} and rates are both given", "keep base and peak, or rates")
    if rates and not any(rates):
        table.refuse("rates", "all rates are 0", "raise one of them")
    period_s = arrivals.duration_s if period_s is None else period_s
    return dataclasses.replace(arrivals, period_s=period_s, phase=phase or 0.0, rates=rates or ())


def _read_windows(table: Table) -> Arrivals | None:
    if "file" in table:
        return _read_windows_file(table)
    if "windows" not in table:
        example = ARRIVAL_KEYS[ArrivalKind.WINDOWS]["windows"]
        table.refuse(None, "missing key 'windows' in [arrivals]", f"add windows = {example}, or file")
    for key in ("speed", "from", "duration"):
        if key in table:
            table.refuse(key, f"{key} is for windows from a file", "change the windows themselves")
    noted, windows = table.noted, []
    for entry in table.tables("windows"):
        entry.refuse_unknown(PIECE_KEYS, {})
        for_s = entry.duration("for", required='"30s"', above=0.0, high=LONGEST_S)
        rate = entry.number("rate", required="4.0", low=0.0, high=FASTEST)
        cv = entry.number("cv", low=STEADY, high=BURSTY)
        gaps = entry.word("gaps", ("gamma", "weibull"), "distribution of gaps")
        windows.append(Window(for_s or 0.0, rate or 0.0, 1.0 if cv is None else cv, gaps == "weibull"))
    if windows and table.noted == noted and not any(window.rate for window in windows):
        table.refuse("windows", "no window has a rate above 0", "raise one of them")
    return _of_windows(table, windows)


def _read_windows_file(table: Table) -> Arrivals | None:
    """Windows of ServeGen's form, between `from` and the end of the duration, at `speed`."""
    if "windows" in table:
        table.refuse("windows", "windows and file are both given", "keep one of them")
    speed = table.number("speed", low=SPEEDS[0], high=SPEEDS[1])
    from_s = table.duration("from", low=0.0) or 0.0
    wanted_s = table.duration("duration", above=0.0, high=LONGEST_S)
    found = read_file(table, "file", read_windows, '"client.csv"', folders=True)
    if found is None:
        return None
    speed = 1.0 if speed is None else speed
    until_s = max(one.start_s + one.for_s for one in found[1])
    whole_s = (until_s - from_s) / speed
    if wanted_s is not None and 0.0 < whole_s < wanted_s - 1e-9:
        what = f"the windows last only {whole_s:g} s at speed {speed:g}"
        table.refuse("duration", what, "leave duration out to play all of them")
    until_s = until_s if wanted_s is None else min(until_s, from_s + wanted_s * speed)
    windows: list[Window] = []
    for client, own in groupby(found[1], key=lambda one: one.client):
        at_s = from_s
        for one in own:
            begin_s, end_s = max(one.start_s, at_s), min(one.start_s + one.for_s, until_s)
            if begin_s >= end_s:
                continue
            if begin_s > at_s:
                windows.append(Window((begin_s - at_s) / speed, 0.0, client=client))
            windows.append(Window((end_s - begin_s) / speed, one.rate * speed, one.cv, one.weibull, client))
            at_s = end_s
    if not windows:
        table.refuse("from", f"no window of the file begins before {until_s:g} s and ends after from", "start earlier")
    if len(windows) > MOST_WINDOWS:
        table.refuse("file", f"{len(windows):,} windows", f"stay under {MOST_WINDOWS:,}: give from and duration")
    return _of_windows(table, windows, (until_s - from_s) / speed)


def _of_windows(table: Table, windows: Sequence[Window], duration_s: float | None = None) -> Arrivals | None:
    duration_s = math.fsum(window.for_s for window in windows) if duration_s is None else duration_s
    if duration_s > LONGEST_S:
        key = "windows" if "windows" in table else "file"
        table.refuse(key, f"the windows last {duration_s:g} s together", f"stay under {LONGEST_S:g} s")
    return Arrivals(ArrivalKind.WINDOWS, duration_s, windows=tuple(windows)) if windows else None


def _read_trace(table: Table) -> Arrivals | None:
    """The duration is what is left of the trace after `from`, at the speed asked for, unless it is cut short."""
    speed = table.number("speed", low=SPEEDS[0], high=SPEEDS[1])
    from_s = table.duration("from", low=0.0) or 0.0
    wanted_s = table.duration("duration", above=0.0, high=LONGEST_S)
    found = read_file(table, "file", trace_at, '"trace.csv"')
    if found is None:
        return None
    path, trace = found
    recording = recording_of(str(path), trace, from_s)
    if recording is None:
        what = f"the trace ends at {trace.span_s:g} s, before from ({from_s:g} s)"
        table.refuse("from", what, "start earlier")
        return None
    speed = 1.0 if speed is None else speed
    whole_s = played_s(recording, speed)
    if wanted_s is not None and wanted_s > whole_s:
        what = f"the trace lasts only {whole_s:g} s at speed {speed:g}"
        table.refuse("duration", what, "leave duration out to play all of it")
    if whole_s > LONGEST_S and wanted_s is None:
        table.refuse("file", f"the trace lasts {whole_s:g} s", f"give a duration of at most {LONGEST_S:g} s")
    return Arrivals(ArrivalKind.TRACE, wanted_s or whole_s, recording=recording, speed=speed)


def recording_of(path: str, trace: Trace, from_s: float) -> Recording | None:
    """What is left of a trace from a time on, counted in equal parts; None when nothing is."""
    at_s = (trace.at_ns - round(from_s * NANO)) / NANO
    at_s = at_s[at_s >= 0.0]
    if not len(at_s):
        return None
    length_s = max(float(at_s[-1]), 1e-3)
    counts = np.histogram(at_s, bins=RECORDING_PARTS, range=(0.0, length_s))[0]
    return Recording(path, trace.digest, from_s, length_s, tuple(counts.tolist()))


def played_s(recording: Recording, speed: float) -> float:
    """How long the recording lasts at that speed: up to the whole millisecond after its last request."""
    return (math.floor(recording.length_s / speed * 1000) + 1) / 1000
