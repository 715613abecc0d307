"""The widget that every panel is: it shows a drawing and repaints only the lines that changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from console.tui.paint import EMPTY, Drawing, Line, Role, crop, fit, to_ascii
from console.tui.snapshot import Snapshot

Draw = Callable[[Snapshot, int, int, bool], Drawing]  # (state, cells, rows, ascii only) -> what to show


class Panel(Widget):
    """Shows what `draw` makes of the newest snapshot, at whatever size it has."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"panel--{role}" for role in Role}

    def __init__(self, draw: Draw, *, id: str, classes: str = "", ascii_only: bool = False) -> None:
        super().__init__(id=id, classes=classes)
        self._draw = draw
        self._ascii = ascii_only
        self._snapshot = Snapshot()
        self._lines: tuple[Line, ...] = ()
        self._drawn_for: Size | None = None
        self._border = ("", "")

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state; only lines whose content differs are painted again."""
        self._snapshot = snapshot
        if self._drawn_for is None or self._drawn_for != self.size or not self.size:
            self.refresh()
            return
        before = self._lines
        self._redraw()
        rows = max(len(before), len(self._lines))
        changed = [
            Region(0, y, self.size.width, 1)
            for y in range(min(rows, self.size.height))
            if _at(before, y) != _at(self._lines, y)
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """One line; a new size is noticed here, before anything of the old one is shown."""
        if self._drawn_for != self.size:
            self._redraw()
        base = self.rich_style
        segments = [
            Segment(to_ascii(text) if self._ascii else text, self.get_component_rich_style(f"panel--{role}"))
            for text, role in _at(self._lines, y)
        ]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _redraw(self) -> None:
        self._drawn_for = self.size
        drawing = self._draw(self._snapshot, self.size.width, self.size.height, self._ascii)
        self._lines = tuple(crop(line, self.size.width) for line in drawing.lines)
        room = max(self.size.width - 4, 0)
        title, subtitle = (
            to_ascii(fit(text, room)) if self._ascii else fit(text, room) for text in (drawing.title, drawing.subtitle)
        )
        if (title, subtitle) != self._border and self.styles.border_top[0]:
            self._border = (title, subtitle)
            # After the paint in hand: a new border marks the whole panel for painting.
            self.call_later(self._label, title, subtitle)

    def _label(self, title: str, subtitle: str) -> None:
        self.border_title = Content(title)
        self.border_subtitle = Content(subtitle)


def _at(lines: tuple[Line, ...], y: int) -> Line:
    return lines[y] if y < len(lines) else EMPTY
