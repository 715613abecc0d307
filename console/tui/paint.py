"""What a panel draws: lines of spans, each a text and the role it plays. Pure; the theme gives roles their colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

_ASCII = str.maketrans(
    {
        "●": "*", "○": "o", "◌": "o", "◐": "*", "◆": "*", "◇": "o", "■": "#", "□": "-", "✓": "+", "✗": "x", "▲": "^",
        "▼": "v", "━": "=", "─": "-", "╌": "-", "│": "|", "┊": ":", "…": "~", "→": ">", "·": ".", "░": ":", "█": "#",
        "▀": "#", "▄": "#", "›": ">", "»": ">", "≠": "!", "±": "~", "∅": "0", "‖": "=", "≤": "<", "≥": ">", "×": "x",
        "°": " ", "▁": "_", "▂": "_", "▃": "-", "▅": "=", "▆": "=", "▇": "#",
    }
)  # fmt: skip


class Role(StrEnum):
    """What a piece of text is; the style sheet has a `panel--<role>` for each."""

    TEXT = "text"
    DIM = "dim"
    STRONG = "strong"
    ACCENT = "accent"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    FIRST = "first"  # a chart's main trace, and the words that name it
    SECOND = "second"  # its other trace
    LIMIT = "limit"  # the SLO line
    BAND = "band"  # a fault's time
    RULE = "rule"  # axes, rules, the part of a bar that is still to come


class Span(NamedTuple):
    """A run of text in one role."""

    text: str
    role: Role = Role.TEXT


Line = tuple[Span, ...]
EMPTY: Line = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """A panel's content and what stands on its border."""

    lines: tuple[Line, ...]
    title: str = ""
    subtitle: str = ""


def line(*parts: str | Span | tuple[str, Role]) -> Line:
    """A line from plain strings and (text, role) pairs; empty parts are dropped."""
    spans = (Span(part) if isinstance(part, str) else Span(*part) for part in parts)
    return tuple(span for span in spans if span.text)


def width(spans: Line) -> int:
    """Cells that the line takes."""
    return sum(cell_len(span.text) for span in spans)


def fit(text: str, cells: int) -> str:
    """`text` in at most `cells` cells; an ellipsis says that some is missing."""
    if cell_len(text) <= cells:
        return text
    return "" if cells <= 0 else set_cell_size(text, cells - 1) + "…"


def pad(text: str, cells: int) -> str:
    """`text` in exactly `cells` cells, to the left."""
    text = fit(text, cells)
    return text + " " * (cells - cell_len(text))


def pad_line(spans: Line, cells: int) -> Line:
    """The line in exactly `cells` cells."""
    spans = crop(spans, cells)
    return (*spans, Span(" " * (cells - width(spans))))


def crop(spans: Line, cells: int) -> Line:
    """The line in at most `cells` cells."""
    if width(spans) <= cells:
        return spans
    out: list[Span] = []
    for span in spans:
        taken = cell_len(span.text)
        if taken > cells - 1:
            out.append(Span(set_cell_size(span.text, max(cells - 1, 0)) + "…" * (cells > 0), span.role))
            break
        out.append(span)
        cells -= taken
    return tuple(out)


def spread(left: Line, right: Line, cells: int) -> Line:
    """`left` and `right` at the two ends of a line; the left gives way."""
    left = crop(left, cells - width(right) - 1)
    gap = cells - width(left) - width(right)
    return (*left, Span(" " * max(gap, 0)), *right) if gap >= 0 else crop(right, cells)


def flow(chips: Sequence[Line], cells: int, rows: int, gap: str = "  ") -> list[Line]:
    """Chips in rows, as many as fit; when some do not, the last row ends with how many are missing."""
    out: list[Line] = []
    row: Line = EMPTY
    for index, chip in enumerate(chips):
        lead = (Span(gap),) if row else EMPTY
        more = f"{gap}+{len(chips) - index} more" if len(out) == rows - 1 else ""
        left = len(chips) - index - 1
        room = cells if not left or not more else cells - len(f"{gap}+{left} more")
        if row and width((*row, *lead, *chip)) > room:
            if len(out) == rows - 1:
                out.append((*row, Span(more, Role.DIM)))
                return out
            out.append(row)
            row, lead = EMPTY, EMPTY
        row = (*row, *lead, *crop(chip, cells))
    return [*out, row] if row else out


def wrap(text: str, cells: int, rows: int, role: Role = Role.TEXT) -> list[Line]:
    """`text` broken at spaces into at most `rows` lines; what is left out shows as an ellipsis."""
    if cells <= 0:
        return []
    out: list[str] = []
    for word in text.split():
        if out and cell_len(out[-1]) + 1 + cell_len(word) <= cells:
            out[-1] += f" {word}"
        else:
            out.append(word)
    if len(out) > rows:
        out = [*out[: rows - 1], " ".join(out[rows - 1 :])] if rows else []
    return [line((fit(row, cells), role)) for row in out]


def plain(spans: Iterable[Span]) -> str:
    """The text alone."""
    return "".join(span.text for span in spans)


def to_ascii(text: str) -> str:
    """`text` for a terminal that cannot show more: own glyphs get a likeness, all else a mark of the same width."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in text.translate(_ASCII))
