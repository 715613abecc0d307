"""From a TOML file or a catalogue name to a valid Scenario: all mistakes in one pass, each with its line and fix."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
from pathlib import Path

from scenarios import catalogue
from scenarios.definition import ArrivalKind, Arrivals, FaultSpec, Matrix, Scenario
from scenarios.errors import DefinitionErrors, Mistake, UnknownScenario
from scenarios.faults.blast import excess, overrun
from scenarios.rates import expected_count
from scenarios.toml.keys import FASTEST, LONGEST_S, MOST_REQUESTS
from scenarios.toml.top import read_top
from scenarios.toml_lines import parse
from scenarios.toml_table import Table, nearest
from scenarios.traces.trace import SPEEDS

LARGEST_FILE = 256 * 1024


def find_scenario(name_or_path: str) -> Scenario:
    """A catalogue entry by name, else a TOML file by path (`./name` for a file called like a catalogue entry).

    Raises UnknownScenario when there is neither, DefinitionErrors when the file holds mistakes.
    """
    if name_or_path in catalogue.names():
        return read_scenario(catalogue.path(name_or_path))
    if "\0" not in name_or_path and os.path.lexists(name_or_path):
        return read_scenario(name_or_path)
    near = nearest(name_or_path, catalogue.names())
    hint = f'did you mean "{near}"?' if near else "the catalogue has: " + ", ".join(catalogue.names())
    raise UnknownScenario(f"no scenario and no file {name_or_path[:200]!r}; {hint}")


def read_scenario(path: str | os.PathLike[str]) -> Scenario:
    """Read and check one TOML file. Raises DefinitionErrors with every mistake, UnknownScenario without a file."""
    name = os.fspath(path)
    text = _read_text(name)
    return parse_scenario(text, name)


def _read_text(name: str) -> str:
    def refused(line: int, what: str, fix: str) -> DefinitionErrors:
        return DefinitionErrors((Mistake(name, line, what, fix),))

    try:
        mode = Path(name).stat().st_mode
        if stat.S_ISDIR(mode):
            raise refused(0, "is a directory", "name a TOML file in it")
        if not stat.S_ISREG(mode):  # a pipe or a device could block or never end
            raise refused(0, "is not a regular file", "save the scenario as a file and name that")
        with Path(name).open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UnknownScenario(f"no file {name[:200]!r}; check the path") from error
    except OSError as error:
        raise refused(0, f"cannot be read: {error.strerror}", "check its permissions") from error
    if len(raw) > LARGEST_FILE:
        raise refused(0, f"is larger than {LARGEST_FILE // 1024} KiB", "a scenario is a page of TOML: is it this file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refused(line, f"is not UTF-8 (byte 0x{raw[error.start]:02x})", "save the file as UTF-8 text") from error


def parse_scenario(text: str, file: str) -> Scenario:
    """As `read_scenario`, from text; `file` is what messages call it."""
    toml = parse(text)
    mistakes = [Mistake(file, m.line, m.what, m.fix) for m in toml.mistakes]
    scenario = None
    if toml.whole:
        scenario = read_top(Table(toml.data, (), toml, file, mistakes), text)
    if mistakes or scenario is None:
        raise DefinitionErrors(tuple(sorted(mistakes, key=lambda m: m.line)))
    return scenario


def override(scenario: Scenario, rate: float | None = None, duration_s: float | None = None) -> Scenario:
    """The scenario at another rate or length, for `--rate` and `--duration`.

    `rate` becomes the steady rate; for ramp, spike and diurnal it becomes the base, and the peak keeps its ratio to it
    (a base of 0 stays, and `rate` becomes the peak). For windows, diurnal rates and a trace it becomes the mean over
    the run, all else in proportion: a trace is played faster or slower, and faults come sooner or later with it.
    `duration_s` stretches spike, day, windows, given times, and the times and lengths of faults along; a trace is cut
    short instead, and faults stay where they are in it. Of a chaos search it is the budget. A closed loop has neither.
    Raises DefinitionErrors for values out of range.
    """
    arrivals, ratio = scenario.arrivals, 1.0
    mistakes = []
    if rate is not None and not 0.0 < rate <= FASTEST:
        fix = f"it must be more than 0 and at most {FASTEST:g}"
        mistakes.append(Mistake("--rate", 0, f"{rate:g} is out of range", fix))
    if duration_s is not None and not 0.0 < duration_s <= LONGEST_S:
        fix = f"it must be more than 0 and at most {LONGEST_S:g} seconds"
        mistakes.append(Mistake("--duration", 0, f"{duration_s:g} s is out of range", fix))
    for option, value in (("--rate", rate), ("--duration", duration_s)):
        if value is not None and arrivals.kind is ArrivalKind.CLOSED:
            what = "a closed loop goes as fast as it is answered, for as long as that takes"
            mistakes.append(Mistake(option, 0, what, "change concurrency or requests in the file"))
    if rate is not None and scenario.chaos is not None:
        mistakes.append(Mistake("--rate", 0, "a chaos search chooses when requests come", "remove it"))
    elif rate is not None and arrivals.kind is ArrivalKind.TIMES:
        what = "its requests are due at times that the file gives one by one"
        mistakes.append(Mistake("--rate", 0, what, "change `at` in the file, or give --duration to stretch them"))
    if mistakes:
        raise DefinitionErrors(tuple(mistakes))
    if scenario.chaos is not None and duration_s is not None:
        return dataclasses.replace(scenario, chaos=dataclasses.replace(scenario.chaos, budget_s=duration_s))
    if rate is not None:
        arrivals = _at_rate(arrivals, rate)
        ratio = arrivals.duration_s / scenario.arrivals.duration_s
    if duration_s is not None:
        longer = _for_duration(arrivals, duration_s)
        if arrivals.recording is None:
            ratio *= longer.duration_s / arrivals.duration_s
        arrivals = longer
    faults, matrix = _stretched(scenario.faults, ratio), _stretched_slots(scenario.matrix, ratio)
    if arrivals.duration_s != scenario.arrivals.duration_s:
        option = "--duration" if duration_s is not None else "--rate"
        mistakes += _outside(arrivals.duration_s, scenario.window.warmup_s, faults, option)
        mistakes += [Mistake(option, 0, f"then {one.what}", one.fix) for one in excess(faults, scenario.blast)]
    count = expected_count(arrivals)
    if count > MOST_REQUESTS:
        what = f"the plan would hold about {math.ceil(count):,} requests"
        fix = f"stay under {MOST_REQUESTS:,}: lower --rate or --duration"
        mistakes.append(Mistake("--rate" if rate is not None else "--duration", 0, what, fix))
    if mistakes:
        raise DefinitionErrors(tuple(mistakes))
    return dataclasses.replace(scenario, arrivals=arrivals, faults=faults, matrix=matrix)


def within(scenario: Scenario, share: float) -> Scenario:
    """The scenario with a blast radius of at most `share`, for `--blast-radius`.

    Raises DefinitionErrors with every fault that would hit more.
    """
    blast = dataclasses.replace(scenario.blast, share=min(scenario.blast.share, share))
    beyond = [one for one in excess(scenario.faults, blast) if one.key == "share"]
    if beyond:
        raise DefinitionErrors(
            tuple(
                Mistake("--blast-radius", 0, f"the fault at {one.fault.at_s:g} s, {one.what}", one.fix)
                for one in beyond
            )
        )
    return dataclasses.replace(scenario, blast=blast)


def _stretched(faults: tuple[FaultSpec, ...], ratio: float) -> tuple[FaultSpec, ...]:
    """The faults at the same shares of the run; where its length stays, they stay to the bit."""
    return tuple(
        dataclasses.replace(f, at_s=f.at_s * ratio, for_s=f.for_s * ratio, by_s=f.by_s * ratio) for f in faults
    )


def _stretched_slots(matrix: Matrix | None, ratio: float) -> Matrix | None:
    if matrix is None:
        return None
    slot_s, lead_s, length_s = (value * ratio for value in (matrix.slot_s, matrix.lead_s, matrix.length_s))
    return dataclasses.replace(matrix, slot_s=slot_s, lead_s=lead_s, length_s=length_s)


def _outside(duration_s: float, warmup_s: float, faults: tuple[FaultSpec, ...], option: str) -> list[Mistake]:
    """What does not fit into a run of that length any more."""
    mistakes = []
    if duration_s <= warmup_s:
        what = f"the run is {duration_s:g} s long, no longer than the warm-up ({warmup_s:g} s)"
        mistakes.append(Mistake(option, 0, what, "make it longer, or warmup in [window] shorter"))
    found = (overrun(fault, duration_s) for fault in faults)
    mistakes += [Mistake(option, 0, one.what, one.fix) for one in found if one is not None]
    return mistakes


def _at_rate(arrivals: Arrivals, rate: float) -> Arrivals:
    mean = expected_count(arrivals) / arrivals.duration_s
    if not mean:
        what = f"no request comes in the {arrivals.duration_s:g} s that the file asks for, so there is no rate to raise"
        raise DefinitionErrors((Mistake("--rate", 0, what, "begin elsewhere or make duration longer in the file"),))
    match arrivals.kind:
        case ArrivalKind.TRACE:
            speed = arrivals.speed * rate / mean
            if not SPEEDS[0] <= speed <= SPEEDS[1]:
                what = f"{rate:g} requests a second would be the trace at {speed:g} times its speed"
                fix = f"a trace is played at {SPEEDS[0]:g} to {SPEEDS[1]:g} times its speed"
                raise DefinitionErrors((Mistake("--rate", 0, what, fix),))
            duration_s = math.ceil(arrivals.duration_s * arrivals.speed / speed * 1000) / 1000
            return dataclasses.replace(arrivals, speed=speed, duration_s=duration_s)
        case ArrivalKind.WINDOWS:
            windows = tuple(dataclasses.replace(one, rate=one.rate * rate / mean) for one in arrivals.windows)
            return dataclasses.replace(arrivals, windows=windows)
        case ArrivalKind.DIURNAL if arrivals.rates:
            return dataclasses.replace(arrivals, rates=tuple(one * rate / mean for one in arrivals.rates))
    old = arrivals.rate or arrivals.base or arrivals.peak
    return dataclasses.replace(
        arrivals,
        rate=rate if arrivals.rate else 0.0,
        base=rate if arrivals.base else 0.0,
        peak=arrivals.peak * (rate / old) if arrivals.base else (rate if arrivals.peak else 0.0),
    )


def _for_duration(arrivals: Arrivals, duration_s: float) -> Arrivals:
    if arrivals.recording is not None:
        whole_s = arrivals.recording.length_s / arrivals.speed
        if duration_s > whole_s + 1e-3:
            what = f"the trace lasts only {whole_s:g} s at speed {arrivals.speed:g}"
            raise DefinitionErrors((Mistake("--duration", 0, what, "give less, or play it slower"),))
        return dataclasses.replace(arrivals, duration_s=duration_s)
    stretch = duration_s / arrivals.duration_s
    return dataclasses.replace(
        arrivals,
        duration_s=duration_s,
        spike_at_s=arrivals.spike_at_s * stretch,
        spike_s=arrivals.spike_s * stretch,
        period_s=arrivals.period_s * stretch,
        at_s=tuple(at_s * stretch for at_s in arrivals.at_s),
        windows=tuple(dataclasses.replace(one, for_s=one.for_s * stretch) for one in arrivals.windows),
    )
