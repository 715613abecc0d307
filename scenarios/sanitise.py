"""The one place where text from outside (prompts, answers, headers, metadata) becomes a value that a screen may show.

What `view` returns holds nothing that a terminal, a browser or an editor would act on. It is plain text, not markup:
for Rich and Textual the caller wraps it in `Text(...)` (or passes `markup=False`), for HTML the template escapes it,
and for a Markdown table there is `markdown_cell`.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 4_000  # characters
MARKS = 3  # combining marks kept on one base character
_SHORT = 16  # below this limit there is no room for the count of what was left out
_CACHE_LIMIT = 20_000


class _Shown(dict[int, int | str]):
    """What each character is shown as; filled on demand, for `str.translate`."""

    def __missing__(self, code: int) -> int | str:
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        shown = self[code] = _shown(code)
        return shown


def _shown(code: int) -> int | str:
    """A character as itself, as a control picture (C0 and DEL), or as `\\u{XXXX}`."""
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    char = chr(code)
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return code
    return f"\\u{{{code:04X}}}"


_ONE_LINE = _Shown()
_LINES = _Shown({0x0A: 0x0A})


def view(text: str, limit: int = LIMIT, *, lines: bool = False) -> str:
    """Text from outside as a safe view value of at most `limit` characters, the same again when given back.

    Shown as control pictures (`␛`) or `\\u{XXXX}`: control characters, terminal sequences with them, bidi controls,
    zero-width and tag characters, other invisible formats, line and paragraph separators, surrogates, private use and
    unassigned ones. More than three combining marks on one base become `⟨+n marks⟩`. A text that is too long ends with
    `… (+n)`, n characters left out (only `…` where `limit` is below 16). lines: keep line feeds, do not show them.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    if text.isascii() and (text.replace("\n", "") if lines else text).isprintable():
        shown = text
    else:
        text = _bound_marks(text)
        # Every character is shown by one or more, so what stands past the limit cannot come into view.
        shown = text[: limit + 1].translate(_LINES if lines else _ONE_LINE)
    return shown if len(shown) <= limit else _cut(text, limit, _LINES if lines else _ONE_LINE)


def markdown_cell(text: str, limit: int = 300) -> str:
    """Text from outside for a cell of a Markdown table: one line that neither ends the cell nor is markup or HTML."""
    return _MARKUP.sub(_escaped, view(text, limit))


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKUP = re.compile(r"[\\`*_\[\]{}|~#$!&<>]")


def _escaped(found: re.Match[str]) -> str:
    return _ENTITIES.get(found.group(), "\\" + found.group())


def _cut(text: str, limit: int, table: _Shown) -> str:
    """The start of a text that is too long, with the number of characters left out."""
    room = limit - 1 if limit < _SHORT else limit - len(f"… (+{len(text):,})")
    shown: list[str] = []
    used = taken = 0
    for char in text[:limit]:
        part = table[ord(char)]
        piece = chr(part) if isinstance(part, int) else part
        if used + len(piece) > room:
            break
        shown.append(piece)
        used += len(piece)
        taken += 1
    tail = "…" if limit < _SHORT else f"… (+{len(text) - taken:,})"
    return "".join(shown) + tail


def _bound_marks(text: str) -> str:
    """At most three combining marks in a row, the others counted; a leading one gets a base of its own."""
    marks = [char for char in set(text) if unicodedata.category(char) in {"Mn", "Me"}]
    if not marks:
        return text
    runs = re.compile(f"([{''.join(map(re.escape, marks))}]{{{MARKS}}})([{''.join(map(re.escape, marks))}]+)")
    text = runs.sub(lambda run: f"{run.group(1)}⟨+{len(run.group(2))} marks⟩", text)
    return f"◌{text}" if unicodedata.category(text[0]) in {"Mn", "Me"} else text
