"""The bridge: header, six panels and the gates, for any terminal from 60x16 on."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Footer, Static

from console.tui import drift, flags, gates, happenings, header, load, traffic, ttft
from console.tui.notice import notice
from console.tui.paint import Drawing
from console.tui.panel import Draw, Panel
from console.tui.snapshot import Snapshot

LEAST = (60, 16)
WIDTHS = [(0, "-tiny"), (LEAST[0], "-narrow"), (78, "-normal"), (110, "-wide")]
HEIGHTS = [(0, "-flat"), (LEAST[1], "-short"), (34, "-tall")]
PANELS: tuple[tuple[str, Draw], ...] = (
    ("traffic", traffic.draw),
    ("ttft", ttft.draw),
    ("load", load.draw),
    ("flags", flags.draw),
    ("drift", drift.draw),
    ("happenings", happenings.draw),
)


class Bridge(Screen[None]):
    """Shows snapshots; what its keys do is the app's business."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="help", key_display="?", tooltip="this page"),
        Binding("s", "app.pick", "Scenarios", id="scenarios", tooltip="pick a scenario and start it"),
        Binding("f", "app.fault", "Fault", id="fault", tooltip="inject a fault into the run"),
        Binding("u", "app.end_faults", "End faults", id="end_faults", tooltip="end every fault that is on, at once"),
        Binding(
            "space", "app.pause", "Pause", id="pause", key_display="space", tooltip="hold the view; the run goes on"
        ),
        Binding("x", "app.stop", "Stop", id="stop", tooltip="stop the run and judge what there is"),
        Binding("v", "app.verdict", "Verdict", id="verdict", tooltip="the verdict of a run that has ended"),
        Binding("t", "app.theme", "Theme", id="theme", show=False, tooltip="night or day"),
        Binding("q", "app.leave", "Quit", id="quit", tooltip="leave; a live run may go on without the console"),
        Binding("ctrl+c", "app.leave", "Quit", id="quit.too", show=False, tooltip="the same"),
    ]

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__(classes="-ascii" if ascii_only else "")
        self._ascii = ascii_only

    def compose(self) -> ComposeResult:
        yield Panel(header.draw, id="header", ascii_only=self._ascii)
        with Container(id="panels"):
            for name, draw in PANELS:
                yield Panel(
                    _or_notice(draw) if name == "traffic" else draw, id=name, classes="framed", ascii_only=self._ascii
                )
        yield Panel(gates.draw, id="gates", classes="framed", ascii_only=self._ascii)
        yield Static(id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_resize(self, event: Resize) -> None:
        width, height = event.size
        self.query_one("#small", Static).update(
            Content(f"seatrial needs {LEAST[0]}x{LEAST[1]}; this is {width}x{height}")
        )

    def show(self, snapshot: Snapshot) -> None:
        """One newer state for all panels, painted at once."""
        with self.app.batch_update():
            strip = self.query_one("#gates", Panel)
            lines = gates.height(snapshot, max(self.size.width - 4, 0)) + 2
            lines = min(lines, max(self.size.height // 4, 3))
            if strip.styles.height is None or strip.styles.height.value != lines:
                strip.styles.height = lines
            for panel in self.query(Panel):
                panel.show(snapshot)


def _or_notice(draw: Draw) -> Draw:
    """The first panel tells what is the matter as long as there are no numbers."""

    def drawn(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
        drawing = draw(snapshot, cells, rows, ascii_only)
        told = notice(snapshot, cells, rows)
        return Drawing(tuple(told), drawing.title, drawing.subtitle) if told else drawing

    return drawn
