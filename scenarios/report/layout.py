"""Lines of a fixed width: labelled fields, wrapped sentences, cut and padded cells. Widths are in terminal columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator

LABEL = 12

Paint = Callable[[str, str], str]
"""(role, text) -> text; roles: good, bad, warn, info, dim, strong."""


def as_it_is(_: str, text: str) -> str:
    """The painter without colour."""
    return text


def field(label: str, parts: Iterable[str], width: int) -> Iterator[str]:
    """`label` and its parts, joined by commas; a part moves to the next line whole where it fits there."""
    line, empty = pad(label, LABEL), True
    for part in parts:
        if not empty and cells(line) + 3 + cells(part) > width:
            yield line + ","
            line, empty = " " * LABEL, True
        line += cut(part, width - LABEL - 1) if empty else f", {part}"
        empty = False
    if not empty:
        yield line


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """`text` in lines of at most `width` columns, broken between words."""
    line = indent
    for word in (cut(word, width - len(indent)) for word in text.split()):
        if line != indent and cells(line) + 1 + cells(word) > width:
            yield line
            line = indent
        line += word if line == indent else f" {word}"
    if line != indent:
        yield line


def cells(text: str) -> int:
    """Terminal columns of a text: wide characters take two, combining marks none."""
    return len(text) if text.isascii() else sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """`text` in at most `columns` columns, its end marked when something is missing."""
    if cells(text) <= columns:
        return text
    kept, used = [], 1
    for character in text:
        used += _cell(character)
        if used > columns:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def pad(text: str, columns: int, right: bool = False) -> str:
    """`text` cut and filled to exactly `columns` columns."""
    text = cut(text, columns)
    space = " " * (columns - cells(text))
    return space + text if right else text + space
