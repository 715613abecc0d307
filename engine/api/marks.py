"""Clients' text on its way through a chat template: strings that work on the text and print as a mark.

A template may trim, split or compare a `Mark` and meets the client's text; what it prints is an unguessable mark, where
the result is cut again. So the text can be told from what the template itself wrote, whatever the text says.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

MAX_MARKS = 200_000
MAX_CHARACTERS = 64 * 1024 * 1024
"""All texts of one rendering together, those included that the template cut out of others."""


class MarkError(ValueError):
    """The template took a mark apart, or made more of them than any conversation
    needs."""


class Marks:
    """The texts of one rendering and the marks that stand for them."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._marks: list[Mark] = []
        self._characters = 0
        self._mark = re.compile(f"(\x02{self._secret}:\\d+\x03)", re.IGNORECASE)
        self._images: list[bytes] = []
        self._image_mark = re.compile(f"\x02{self._secret}/(\\d+)\x03", re.IGNORECASE)

    def put(self, text: str) -> str:
        """A mark for this text; the empty text is its own. Raises MarkError when there are too many."""
        if not text:
            return ""
        self._characters += len(text)
        if len(self._marks) >= MAX_MARKS or self._characters > MAX_CHARACTERS:
            raise MarkError(f"makes more than {MAX_MARKS} pieces of these messages, or too large ones")
        self._marks.append(Mark(f"\x02{self._secret}:{len(self._marks)}\x03", text, self))
        return self._marks[-1]

    def put_image(self, image: bytes) -> str:
        """What stands for this image within a text that is put afterwards; `cut_images` finds it there."""
        self._images.append(image)
        return f"\x02{self._secret}/{len(self._images) - 1}\x03"

    @property
    def images(self) -> int:
        """How many were put."""
        return len(self._images)

    def put_all(self, value: Any) -> Any:
        """A JSON value with a mark for every string in it, the keys included. Raises RecursionError when too deep."""
        if isinstance(value, str):
            return self.put(value)
        if isinstance(value, dict):
            return {self.put(key): self.put_all(item) for key, item in value.items()}
        return [self.put_all(item) for item in value] if isinstance(value, list) else value

    def to_json(self, value: Any, indent: int | None = None, **options: Any) -> str:
        """A value as JSON, as a client's text: nothing in it can be told from the strings that it holds."""
        return self.put(json.dumps(plain(value), **{"ensure_ascii": False, "indent": indent, **options}))

    def restored(self, value: Any) -> Any:
        """The Mark that a string is the print of, and nothing else; any other value as it is."""
        if type(value) is not str or not value.startswith("\x02") or not self._mark.fullmatch(value):
            return value
        return self._of(value)

    def cut(self, text: str) -> Iterator[tuple[str, bool]]:
        """The pieces of a rendering in order, and whether the template wrote them. Raises MarkError on a torn mark."""
        for position, piece in enumerate(self._mark.split(text)):
            if position % 2:
                yield plain(self._of(piece)), False
            elif "\x02" in piece or "\x03" in piece or self._secret[:8] in piece.lower():
                raise MarkError("takes these messages apart in a way that is not supported")
            elif piece:
                yield piece, True

    def _of(self, printed: str) -> str:
        mark = self._marks[int(printed[1:-1].partition(":")[2])]
        # The template has made capitals of a text in which the mark stood.
        return mark if self._secret in printed else mark.upper()

    def cut_images(self, text: str) -> Iterator[str | bytes]:
        """A client's text and the images in it, in order."""
        for position, piece in enumerate(self._image_mark.split(text)):
            if position % 2:
                yield self._images[int(piece)]
            elif piece:
                yield piece


class Mark(str):
    """A client's text that prints as a mark. Every underscored name is out of a template's reach."""

    __slots__ = ("_marks", "_text")
    _marks: Marks
    _text: str

    def __new__(cls, mark: str, text: str, marks: Marks) -> Mark:
        made = super().__new__(cls, mark)
        made._text, made._marks = text, marks
        return made

    def __len__(self) -> int:
        return len(self._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __contains__(self, item: object) -> bool:
        return plain(item) in self._text

    def __iter__(self) -> Iterator[str]:
        return (self._marks.put(character) for character in self._text)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return self._marks.put(self._text[key])

    def __repr__(self) -> str:
        return self._marks.put(repr(self._text))


def plain(value: Any) -> Any:
    """The value with the clients' texts in the place of their marks."""
    if isinstance(value, Mark):
        return value._text
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _on_text(name: str) -> Callable[..., Any]:
    """str's method of this name, on the text; the strings that it gives are marks again."""

    def method(self: Mark, *arguments: Any, **options: Any) -> Any:
        result = getattr(self._text, name)(*map(plain, arguments), **options)
        return self._marks.put_all(list(result) if isinstance(result, tuple) else result)

    return method


for _name in (
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "partition", "rpartition",
    "replace", "removeprefix", "removesuffix", "upper", "lower", "title", "capitalize",
    "startswith", "endswith", "find", "rfind", "index", "count",
    "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower",
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
):  # fmt: skip
    setattr(Mark, _name, _on_text(_name))
