"""The verdict of a run: the word, why, every gate with its evidence, and where to go from here."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer

from console.exits import exit_of
from console.tui import bigword
from console.tui.gates import WORDS
from console.tui.header import VERDICTS
from console.tui.paint import EMPTY, Drawing, Line, Role, Span, fit, flow, line, pad, wrap
from console.tui.panel import Panel
from console.tui.snapshot import Snapshot
from console.tui.units import number, percent, seconds, whole
from scenarios.result import GateResult, ResultDocument

WIDEST = 112


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """The whole of it; as many lines as it takes."""
    return Drawing(
        tuple(lines(snapshot, cells, ascii_only)), f"Verdict on {snapshot.scenario}", f"run {snapshot.short_id}"
    )


def lines(snapshot: Snapshot, cells: int, ascii_only: bool) -> list[Line]:
    """Every line of the view, for a width."""
    document = snapshot.document
    if document is None:
        return [line(("no verdict yet", Role.DIM))]
    word, role = VERDICTS[document.verdict]
    big = bigword.rows(document.verdict.value)
    fits = not ascii_only and len(big[0]) + 8 <= cells
    out = [line((row, role)) for row in big] if fits else []
    identity = (("   scenario ", Role.DIM), document.run.scenario, ("   run ", Role.DIM), snapshot.run_id)
    hints = [
        line(("report ", Role.DIM), (f"seatrial report {snapshot.short_id}", Role.ACCENT)),
        line(("evidence ", Role.DIM), (f"seatrial show {snapshot.short_id}", Role.ACCENT)),
        line(("exit code ", Role.DIM), f"{int(exit_of(document))}"),
    ]
    out += [line((word, role), *identity), EMPTY, *wrap(document.why, cells, 4), EMPTY]
    out += [*_summary(document, cells), *flow(hints, cells, 3, "   "), EMPTY]
    return out + _table(document.gates, cells)


def _summary(document: ResultDocument, cells: int) -> list[Line]:
    s = document.summary
    outcomes = [(name, count) for name, count in s.outcomes.items() if count]
    chips = [
        line(("planned ", Role.DIM), whole(s.planned)),
        *(line((f"{name} ", Role.DIM), whole(count)) for name, count in outcomes),
        line(("goodput ", Role.DIM), percent(s.goodput), (" %", Role.DIM)),
        line(("TTFT p95 ", Role.DIM), seconds(s.ttft_s.p95), (" s", Role.DIM)),
    ]
    return flow(chips, cells, 3, "   ")


def _table(gates: tuple[GateResult, ...], cells: int) -> list[Line]:
    if not gates:
        return [line(("this scenario has no gates", Role.DIM))]
    spanned, state_cells = cells >= 70, 16 if cells >= 70 else 10
    bound_cells = max(min(max(cell_len(gate.bound) for gate in gates), 18) + 2, 10)
    name_cells = min(max(cells - (state_cells + 13 + bound_cells + (18 if spanned else 0)), 10), 48)
    last = "interval" if spanned else ""
    head = f"{'':<{state_cells}}{'gate':<{name_cells}}{'measured':>10}   {'bound':<{bound_cells}}{last}"
    out = [line((head.rstrip(), Role.DIM))]
    for gate in gates:
        word, role = WORDS.get(gate.verdict.value, (gate.verdict.value, Role.DIM))
        out.append(
            (
                Span(pad(word, state_cells), role),
                Span(pad(gate.name or gate.metric, name_cells)),
                Span(f"{number(gate.measured):>10}   ", Role.STRONG),
                Span(pad(fit(gate.bound, bound_cells - 1), bound_cells)),
                *((Span(_interval(gate), Role.DIM),) if spanned else ()),
            )
        )
        more = f"; {gate.needed:,} more requests would settle it" if gate.needed else ""
        if gate.verdict.value != "pass" and gate.reason + more:
            out += [
                (Span(" " * state_cells), *row)
                for row in wrap(f"{gate.reason}{more}".lstrip("; "), cells - state_cells, 2, Role.DIM)
            ]
    return out


def _interval(gate: GateResult) -> str:
    if gate.interval is None:
        return "-"
    low, high = gate.interval
    return f"{number(low)} .. {number(high)}"


class VerdictView(Screen[None]):
    """The verdict, scrollable; escape goes back to the bridge."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,v", "back", "Bridge", id="verdict.back", key_display="esc"),
        Binding("s", "again", "Scenarios", id="verdict.scenarios"),
        Binding("question_mark", "app.help", "Help", id="verdict.help", key_display="?"),
        Binding("q", "app.leave", "Quit", id="verdict.quit"),
        Binding("ctrl+c", "app.leave", "Quit", id="verdict.quit.too", show=False),
    ]

    def __init__(self, snapshot: Snapshot, *, ascii_only: bool = False) -> None:
        super().__init__(classes="-ascii" if ascii_only else "")
        self._snapshot = snapshot
        self._ascii = ascii_only

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Panel(draw, id="verdict", classes="framed", ascii_only=self._ascii)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._fit()
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        panel = self.query_one(Panel)
        cells = min(max(self.size.width - 7, 10), WIDEST - 6)
        panel.styles.height = len(lines(self._snapshot, cells, self._ascii)) + 4
        panel.show(self._snapshot)

    def action_back(self) -> None:
        self.dismiss()

    def action_again(self) -> None:
        self.dismiss()
        self.app.call_later(self.app.run_action, "pick")
