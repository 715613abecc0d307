"""What a scenario will do, drawn before it starts: its words, the expected rate over time, faults and gates. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.tui.chart import Scale, Trace, Window, dots, framed
from console.tui.paint import EMPTY, Line, Role, fit, line, pad, wrap
from console.tui.units import ceiling, clock, percent, rate
from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Scenario


@dataclass(frozen=True, slots=True)
class Entry:
    """A catalogue entry: `name` is what is launched; the scenario is None when its file is wrong, and `problem` why."""

    name: str
    scenario: Scenario | None
    problem: str = ""


def rate_at(arrivals: Arrivals, t_s: float) -> float:
    """The expected rate at `t_s`, requests per second."""
    match arrivals.kind:
        case ArrivalKind.RAMP:
            return arrivals.base + (arrivals.peak - arrivals.base) * t_s / max(arrivals.duration_s, 1e-9)
        case ArrivalKind.SPIKE:
            inside = arrivals.spike_at_s <= t_s < arrivals.spike_at_s + arrivals.spike_s
            return arrivals.peak if inside else arrivals.base
        case _:
            return arrivals.rate


def expected(arrivals: Arrivals, steps: int = 1000) -> float:
    """Requests expected in all, by the midpoint rule."""
    width = arrivals.duration_s / steps
    return sum(rate_at(arrivals, (i + 0.5) * width) for i in range(steps)) * width


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
    total = line(
        ("   ~ ", Role.DIM), f"{expected(arrivals):,.0f}", (" requests in ", Role.DIM), clock(arrivals.duration_s)
    )
    if arrivals.kind in (ArrivalKind.RAMP, ArrivalKind.SPIKE):
        return (
            *line(
                (arrivals.kind.value, Role.ACCENT),
                f"  {rate(arrivals.base)} → {rate(arrivals.peak)}",
                (" /s", Role.DIM),
            ),
            *total,
        )
    return (*line((arrivals.kind.value, Role.ACCENT), f"  {rate(arrivals.rate)}", (" /s", Role.DIM)), *total)


def _chart(arrivals: Arrivals, faults: list[float], cells: int, rows: int, ascii_only: bool) -> list[Line]:
    window = Window(0.0, arrivals.duration_s, [(at, at) for at in faults])
    count = dots(cells)
    values = [rate_at(arrivals, (i + 0.5) / count * arrivals.duration_s) for i in range(count)] if count else []
    top = ceiling(max(values, default=1.0))
    traces = [Trace(values, Role.FIRST, filled=True)]
    return framed(traces, Scale(top, None, (f"{top:g}", "")), window, cells, rows, ascii_only=ascii_only)


def _workload(scenario: Scenario, cells: int) -> list[Line]:
    whole = sum(weight for _, weight in scenario.workload.mix) or 1.0
    mix = ", ".join(f"{name} {percent(weight / whole)} %" for name, weight in scenario.workload.mix)
    out = [line(("mix    ", Role.DIM), row[0].text) if i == 0 else line("       ", row[0].text)
           for i, row in enumerate(wrap(mix, cells - 7, 2))]  # fmt: skip
    drift = scenario.workload.drift
    if drift is not None:
        out.append(
            line(
                ("drift  ", Role.DIM),
                f"era A to B from {percent(drift.start)} % to {percent(drift.end)} % of the run",
            )
        )
    return out


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
