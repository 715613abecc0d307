"""Tool calls as models write them: JSON, complete or still on its way."""

from __future__ import annotations

import re

import msgspec

BLANK = " \t\r\n"
Call = tuple[str, str]
"""Name and arguments of a complete call; the arguments are the text of a JSON object."""


class _Written(msgspec.Struct):
    """A call as models write it."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()

    @property
    def given(self) -> msgspec.Raw:
        """Its arguments as they stand; empty when there are none."""
        return self.arguments or self.parameters

    def json(self) -> str | None:
        """Its arguments as the text of a JSON object; None when they are none. Some models quote the object."""
        text = bytes(self.given).decode()
        if text in ("", "null"):
            return "{}"
        if text.startswith('"'):
            text = msgspec.json.decode(text)
        return text if is_object(text) else None


_one = msgspec.json.Decoder(_Written)
_many = msgspec.json.Decoder(list[_Written])


class Value:
    """Looks for the end of a JSON object or array, at each character once, however often more text is there."""

    _OUTSIDE = re.compile(r'["{}\[\]]')
    _INSIDE = re.compile(r'\\.|"', re.DOTALL)

    def __init__(self, start: int) -> None:
        self._at = start
        self._depth = 0
        self._quoted = False

    def end(self, text: str) -> int | None:
        """Where the value ends in `text`, which begins like that of the call before; None while it does not."""
        while found := (self._INSIDE if self._quoted else self._OUTSIDE).search(text, self._at):
            self._at = found.end()
            what = found.group()
            if what == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if what in "{[" else -1
                if self._depth <= 0:
                    return self._at
        if not text.endswith("\\") or not self._quoted:
            self._at = len(text)
        return None


def decoded(text: str, *, needs_arguments: bool = False) -> list[Call]:
    """The calls in the text of a JSON object or array; none when any of them is wrong."""
    try:
        text = text.strip(BLANK)
        written = _many.decode(text) if text.startswith("[") else [_one.decode(text)]
        calls: list[Call] = []
        for call in written:
            arguments = call.json()
            if arguments is None or not call.name or (needs_arguments and not call.given):
                return []
            calls.append((call.name, arguments))
        return calls
    except (msgspec.DecodeError, RecursionError):
        return []


def is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def skip_blanks(text: str, at: int, blanks: str = BLANK) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at
