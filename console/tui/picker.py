"""The scenario picker: the catalogue to the left, what the scenario under the cursor will do to the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from console.tui import clean, preview
from console.tui.paint import Drawing, Role, line
from console.tui.panel import Panel
from console.tui.preview import Entry
from console.tui.snapshot import Snapshot
from scenarios.errors import HarnessError

WIDTHS = [(0, "-narrow"), (100, "-normal")]
Catalogue = Callable[[], Sequence[Entry]]


def catalogue() -> list[Entry]:
    """Every scenario that ships, read and checked; a wrong one is listed with its mistake."""
    from scenarios.catalogue import names
    from scenarios.scenario_file import find_scenario

    entries = []
    for name in names():
        try:
            entries.append(Entry(name, clean.record(find_scenario(name))))
        except (HarnessError, OSError) as error:
            entries.append(Entry(name, None, clean.text(str(error), 400)))
    return entries


class Picker(Screen[str]):
    """Dismisses with the name of the scenario to start; "" for none."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "Start", id="picker.start", priority=True, key_display="enter"),
        Binding("escape", "back", "Back", id="picker.back"),
        Binding("question_mark", "app.help", "Help", id="picker.help", key_display="?"),
        Binding("q", "app.leave", "Quit", id="picker.quit"),
        Binding("ctrl+c", "app.leave", "Quit", id="picker.quit.too", show=False),
    ]

    def __init__(self, read: Catalogue, *, may_start: bool, ascii_only: bool = False) -> None:
        super().__init__(classes="-ascii" if ascii_only else "")
        self._read = read
        self._may_start = may_start
        self._ascii = ascii_only
        self._entries: Sequence[Entry] | None = None

    def compose(self) -> ComposeResult:
        words = "enter starts the scenario" if self._may_start else "to look at only: this console starts no runs"
        yield Static(Content(f"Pick a scenario   {words}"), id="title")
        with Container(id="shelf"):
            names = OptionList(id="names", markup=False)
            names.border_title = "Scenarios"
            yield names
            yield Panel(self._draw, id="preview", classes="framed", ascii_only=self._ascii)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._load()

    @work(thread=True)
    def _load(self) -> None:
        entries = self._read()
        self.app.call_from_thread(self._fill, entries)

    def _fill(self, entries: Sequence[Entry]) -> None:
        if not self.is_attached:  # left before the catalogue was read
            return
        self._entries = entries
        names = self.query_one(OptionList)
        cross = "x " if self._ascii else "✗ "
        names.add_options(
            [Option(Content(f"{cross if e.scenario is None else ''}{clean.text(e.name)}")) for e in entries]
        )
        names.highlighted = 0 if entries else None
        names.focus()
        self.query_one(Panel).show(Snapshot())

    def on_option_list_option_highlighted(self) -> None:
        panel = self.query_one(Panel)
        panel.show(Snapshot())

    def on_option_list_option_selected(self) -> None:
        self.action_start()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._may_start if action == "start" else True

    def action_start(self) -> None:
        entry = self._entry()
        if entry is None:
            return
        if entry.scenario is None:
            self.notify("That scenario has a mistake; the panel says which.", severity="warning", markup=False)
        elif self._may_start:
            self.dismiss(entry.name)

    def action_back(self) -> None:
        self.dismiss("")

    def _entry(self) -> Entry | None:
        index = self.query_one(OptionList).highlighted
        return None if index is None or not self._entries else self._entries[index]

    def _draw(self, _: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
        entry = self._entry()
        if entry is None:
            word = "reading the catalogue" if self._entries is None else "the catalogue is empty"
            return Drawing((line((word, Role.DIM)),), "Preview")
        return Drawing(preview.lines(entry, cells, rows, ascii_only), clean.text(entry.name))
