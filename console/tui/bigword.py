"""A verdict in letters three lines high."""

from __future__ import annotations

_LETTERS = {
    "A": ("▄▀▀▄", "█▀▀█", "▀  ▀"),
    "C": ("▄▀▀▀", "█   ", " ▀▀▀"),
    "D": ("█▀▀▄", "█  █", "▀▀▀ "),
    "E": ("█▀▀▀", "█▀▀ ", "▀▀▀▀"),
    "G": ("▄▀▀▀", "█ ▀█", " ▀▀▀"),
    "I": ("█", "█", "▀"),
    "L": ("█   ", "█   ", "▀▀▀▀"),
    "N": ("█▄  █", "█ ▀▄█", "▀   ▀"),
    "O": ("▄▀▀▄", "█  █", " ▀▀ "),
    "S": ("▄▀▀▀", " ▀▀▄", "▀▀▀ "),
    "U": ("█  █", "█  █", " ▀▀ "),
    "V": ("█   █", "▀▄ ▄▀", "  ▀  "),
    "-": ("   ", "▀▀▀", "   "),
}


def rows(word: str) -> tuple[str, str, str]:
    """The three lines of `word`; a letter without a shape is left out."""
    shapes = [_LETTERS[letter] for letter in word.upper() if letter in _LETTERS]
    return tuple(" ".join(shape[i] for shape in shapes) for i in range(3))  # type: ignore[return-value]
