"""Gates: each bound with what was measured so far, in one column or two."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from console.tui.paint import EMPTY, Drawing, Line, Role, Span, line, pad, pad_line
from console.tui.snapshot import Snapshot
from console.tui.units import number
from scenarios.result import GateVerdict

WORDS: dict[str, tuple[str, Role]] = {
    "pass": ("✓ pass", Role.GOOD),
    "fail": ("✗ fail", Role.BAD),
    "open": ("○ open", Role.DIM),
    GateVerdict.INCONCLUSIVE.value: ("? inconclusive", Role.WARN),
    GateVerdict.INVALID.value: ("! invalid", Role.WARN),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One gate, live or decided."""

    name: str
    measured: float | None
    bound: str
    state: str
    note: str = ""


def rows_of(snapshot: Snapshot) -> list[Row]:
    """The gates of a run, decided ones once there is a verdict."""
    if snapshot.document is not None:
        return [Row(g.name or g.metric, g.measured, g.bound, g.verdict.value) for g in snapshot.document.gates]
    gates = snapshot.tick.gates if snapshot.tick else ()
    return [Row(g.name or g.metric, g.measured, g.bound, g.state, g.note) for g in gates]


def height(snapshot: Snapshot, cells: int) -> int:
    """Lines that the gates take."""
    return -(-max(len(rows_of(snapshot)), 1) // _columns(cells))


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """State, name, measured value and bound of each gate, down the columns."""
    gates = rows_of(snapshot)
    if not gates:
        return Drawing((line(("no gates yet", Role.DIM)),), "Gates")
    columns = _columns(cells)
    deep = -(-len(gates) // columns)
    gap = 3
    each = (cells - gap * (columns - 1)) // columns
    state_cells = 10 if snapshot.document is None else 16
    bound_cells = min(max(cell_len(gate.bound) for gate in gates), 22) + 2
    name_cells = max(min(each - state_cells - 11 - bound_cells, max(cell_len(gate.name) for gate in gates) + 2), 8)
    out: list[Line] = []
    for y in range(min(deep, rows)):
        spans: Line = EMPTY
        for x in range(columns):
            index = x * deep + y
            if index < len(gates):
                spans = (
                    *spans,
                    *((Span(" " * gap),) if x else ()),
                    *pad_line(_gate(gates[index], state_cells, name_cells, bound_cells), each),
                )
        out.append(spans)
    if deep > rows > 0:
        out[-1] = line((f"+{len(gates) - (rows - 1) * columns} more gates", Role.DIM))
    return Drawing(tuple(out), "Gates")


def _columns(cells: int) -> int:
    return 2 if cells >= 100 else 1


def _gate(gate: Row, state_cells: int, name_cells: int, bound_cells: int) -> Line:
    word, role = WORDS.get(gate.state, (f"○ {gate.state}", Role.DIM))
    return (
        Span(pad(word, state_cells), role),
        Span(pad(gate.name, name_cells)),
        Span(f"{gate.note or number(gate.measured):>10} ", Role.STRONG),
        Span(pad(f"  {gate.bound}", bound_cells), Role.DIM),
    )
