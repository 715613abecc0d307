"""Help: the keys, made from the binding table itself, and what the signs mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

_SIGNS = (
    ("Traffic", "line: done rate; area: due rate"),
    ("TTFT", "line: p95; area: p50; dashes: SLO; triangle: off the scale"),
    ("Every chart", "the time axis is the whole run; shaded: a fault was on"),
    ("Gates", "pass, fail, or open: not yet decided at its confidence"),
    ("Flags", "@ personal data  * secret, leak  » injection  ! harm  ≠ form"),
)


class Help(ModalScreen[None]):
    """Closes with escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", id="help.close"),
    ]

    def __init__(self, bindings: Iterable[Binding]) -> None:
        super().__init__()
        self._table = tuple(bindings)

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = "Keys"
            with VerticalScroll():
                yield Static(self._content(), id="keys")

    def _content(self) -> Content:
        out = Content("")
        for binding in self._table:
            key = binding.key_display or binding.key.split(",")[0]
            out += Content.assemble((f"{key:>7}  ", "bold $accent"), binding.tooltip or binding.description, "\n")
        out += Content("\n")
        for name, meaning in _SIGNS:
            out += Content.assemble((f"{name}  ", "bold"), (meaning, "$quiet"), "\n")
        return out.rstrip()
