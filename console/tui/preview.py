"""What a scenario will do, drawn before it starts: its words, the expected rate over time, faults and gates. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from console.tui.chart import Scale, Trace, Window, dots, framed
from console.tui.paint import EMPTY, Line, Role, fit, line, pad, wrap
from console.tui.units import ceiling, clock, percent, rate
from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario
from scenarios.describe import arrivals_in_words, clients_in_words, part_in_words, tenants_in_words
from scenarios.rates import expected_count, rates_of


@dataclass(frozen=True, slots=True)
class Entry:
    """A catalogue entry: `name` is what is launched; the scenario is None when its file is wrong, and `problem` why."""

    name: str
    scenario: Scenario | None
    problem: str = ""


def lines(entry: Entry, cells: int, rows: int, ascii_only: bool) -> tuple[Line, ...]:
    """The preview in at most `rows` lines; the chart takes what the words leave."""
    scenario = entry.scenario
    if scenario is None:
        return (line((f"✗ {fit(entry.name, cells - 2)}", Role.BAD)), EMPTY, *wrap(entry.problem, cells, rows - 2))
    out = [*wrap(scenario.about, cells, 3), EMPTY, _arrivals(scenario.arrivals)]
    gates = _gates(scenario, cells)
    other = _workload(scenario, cells) + _faults(scenario, cells)
    chart_rows = min(max(rows - len(out) - len(gates) - len(other) - 2, 4), 16)
    out += _chart(scenario.arrivals, [f.at_s for f in scenario.faults], cells, chart_rows, ascii_only)
    out += [EMPTY, *other]
    room = rows - len(out)
    if len(gates) > room > 1:
        gates = [*gates[: room - 1], line((f"+{len(gates) - room + 1} more gates", Role.DIM))]
    return tuple([*out, *gates][:rows])


def _arrivals(arrivals: Arrivals) -> Line:
    count = f"{expected_count(arrivals):,.0f}"
    kind = (arrivals.kind.value, Role.ACCENT)
    words = arrivals_in_words(arrivals)
    more = line(f"  {', '.join(words)}") if words else EMPTY
    if arrivals.kind is ArrivalKind.CLOSED:
        return (*line(kind), *more, *line(("   ", Role.DIM), count, (" requests", Role.DIM)))
    rates = rates_of(arrivals)
    low, high = float(min(rates.first.min(), rates.last.min())), rates.highest
    if arrivals.kind in (ArrivalKind.RAMP, ArrivalKind.SPIKE):
        low, high = arrivals.base, arrivals.peak
    span = rate(high) if low == high else f"{rate(low)} → {rate(high)}"
    total = (("   ~ ", Role.DIM), count, (" requests in ", Role.DIM), clock(arrivals.duration_s))
    return (*line(kind, f"  {span}", (" /s", Role.DIM)), *more, *line(*total))


def _chart(arrivals: Arrivals, faults: list[float], cells: int, rows: int, ascii_only: bool) -> list[Line]:
    if arrivals.kind is ArrivalKind.CLOSED:
        return [line(("as fast as it is answered", Role.DIM))]
    window = Window(0.0, arrivals.duration_s, [(at, at) for at in faults])
    count = dots(cells)
    at_s = (np.arange(count) + 0.5) / max(count, 1) * arrivals.duration_s
    values = rates_of(arrivals).at(at_s).tolist()
    top = ceiling(max(values, default=1.0))
    traces = [Trace(values, Role.FIRST, filled=True)]
    return framed(traces, Scale(top, None, (f"{top:g}", "")), window, cells, rows, ascii_only=ascii_only)


def _workload(scenario: Scenario, cells: int) -> list[Line]:
    whole = sum(weight for _, weight in scenario.workload.mix) or 1.0
    mix = ", ".join(f"{name} {percent(weight / whole)} %" for name, weight in scenario.workload.mix)
    out = [line(("mix    ", Role.DIM), row[0].text) if i == 0 else line("       ", row[0].text)
           for i, row in enumerate(wrap(mix, cells - 7, 2))]  # fmt: skip
    workload = scenario.workload
    for name, part in workload.parts:
        out += _field("", [f"{name}:", *part_in_words(part)], cells)
    if workload.tenants:
        out += _field("tenants", tenants_in_words(workload.tenants), cells)
    out += _field("clients", clients_in_words(workload.clients), cells)
    drift = workload.drift
    if drift is not None:
        out.append(
            line(
                ("drift  ", Role.DIM),
                f"era A to B from {percent(drift.start)} % to {percent(drift.end)} % of the run",
            )
        )
    return out


def _field(name: str, words: list[str], cells: int) -> list[Line]:
    text = fit(", ".join(words).replace(":,", ":"), cells - 8)
    return [line((f"{name:<8}", Role.DIM), text)] if text else []


def _faults(scenario: Scenario, cells: int) -> list[Line]:
    words = ", ".join(f"{fault.kind} at {clock(fault.at_s)}" for fault in scenario.faults)
    return [line(("faults ", Role.DIM), ("▼ ", Role.WARN), fit(words, cells - 9))] if words else []


def _gates(scenario: Scenario, cells: int) -> list[Line]:
    room = min(max(cells - 7 - 18, 8), 40)
    rows = [line(pad(gate.name or gate.metric, room), (bound(gate), Role.STRONG)) for gate in scenario.gates]
    return [line((f"{'gates' if i == 0 else '':<7}", Role.DIM), *row) for i, row in enumerate(rows)]


def bound(gate: GateSpec) -> str:
    """The bound in words: "<= 0.8", ">= 0.95", "0.1 to 0.2"."""
    if gate.minimum is not None and gate.maximum is not None:
        return f"{gate.minimum:g} to {gate.maximum:g}"
    return f"<= {gate.maximum:g}" if gate.maximum is not None else f">= {gate.minimum:g}"
