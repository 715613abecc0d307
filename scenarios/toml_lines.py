"""A TOML text with the line of each of its keys, read past syntax errors so that one pass finds them all. Pure.

`tomllib` gives values without places and stops at the first error. Here the error's line is replaced by
`key = UNREADABLE` and reading goes on; whoever meets that value knows that its mistake is already reported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

TomlPath = tuple[str | int, ...]

UNREADABLE = "\x01unreadable"
MOST_ERRORS = 20
LONGEST_LINE = 4096  # a dotted key costs tomllib the square of its length

_KEY = re.compile(r"""^\s*([A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')\s*[=:]\s*(.*?)\s*(#.*)?$""")
_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)[\]\s]*(#.*)?$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SyntaxMistake:
    """A place where the text is no TOML: 1-based line, what tomllib says, how to mend it."""

    line: int
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class TomlText:
    """What could be read. `lines` maps the path of a key, table or array entry to its 1-based line.

    `whole` is False when reading had to stop at a syntax error: `data` is then empty.
    """

    data: Mapping[str, object]
    lines: Mapping[TomlPath, int]
    mistakes: tuple[SyntaxMistake, ...]
    whole: bool

    def line_of(self, path: TomlPath) -> int:
        """The line of the path, else of the nearest thing around it; 1 for the document itself."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def parse(text: str) -> TomlText:
    """Read TOML; never raises for what the text holds."""
    lines = text.replace("\r\n", "\n").split("\n")
    mistakes = [
        SyntaxMistake(number, f"line of {len(line)} characters", f"keep lines under {LONGEST_LINE} characters")
        for number, line in enumerate(lines, 1)
        if len(line) > LONGEST_LINE
    ]
    while len(mistakes) < MOST_ERRORS and not any(len(line) > LONGEST_LINE for line in lines):
        joined = "\n".join(lines)
        try:
            data = tomllib.loads(joined)
        except tomllib.TOMLDecodeError as error:
            mistake = _described(error, lines)
            if any(mistake.line == other.line for other in mistakes):
                break
            mistakes.append(mistake)
            if not _mend(lines, mistake.line):
                break
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets thousands deep
            mistakes.append(SyntaxMistake(_worst_line(lines), f"not readable: {error}", "make the value smaller"))
            break
        else:
            return TomlText(data, _Scanner(joined).scan(), tuple(mistakes), whole=True)
    return TomlText({}, {}, tuple(mistakes), whole=False)


def _worst_line(lines: list[str]) -> int:
    return max(range(len(lines)), key=lambda index: len(lines[index])) + 1


def _described(error: tomllib.TOMLDecodeError, lines: list[str]) -> SyntaxMistake:
    message = str(error)
    place = _PLACE.search(message)
    number = int(place[1]) if place and place[1] else len(lines)
    while number > 1 and not lines[number - 1].strip():
        number -= 1  # the end of the document: the last line that says something
    what = message[: place.start()] if place else message
    what = _visible(f"not valid TOML: {what[:1].lower()}{what[1:160]}")
    return SyntaxMistake(number, what, _visible(_fix(what, lines[number - 1])))


def _visible(text: str) -> str:
    """Control characters of the file must not reach a terminal through a message."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _fix(what: str, line: str) -> str:
    found = _KEY.match(line)
    if "overwrite" in what or "twice" in what:
        return "it is already given above: remove one of the two"
    if found is None:
        if line.lstrip().startswith("["):
            return "a table header looks like [workload] or, for lists, [[gates]]"
        return "a line is a [table], a key = value, or a # comment"
    key, value = found[1], found[2]
    if re.match(rf"\s*{re.escape(key)}\s*:", line):
        return f"write {key} = {value}"[:120]
    if not value:
        return f"give {key} a value, or remove the line"
    if value[0] in "\"'":
        return "close the quote, and write a backslash as \\\\"
    if value[0] in "[{":
        return "close the bracket"
    return f'put text and durations in quotes: {key} = "{value}"'[:120]


def _mend(lines: list[str], number: int) -> bool:
    """Replace the line by one that can be read; False when it is neither `key = value` nor nearly a header."""
    if header := _HEADER.match(lines[number - 1]):
        lines[number - 1] = header[1] + header[2] + "]" * len(header[1])
        return True
    found = _KEY.match(lines[number - 1])
    if found is None:
        return False
    key = found[1]
    bare = key.strip("\"'")
    twice = any((other := _KEY.match(line)) and other[1].strip("\"'") == bare for line in _table_before(lines, number))
    lines[number - 1] = "" if twice else f'{key} = "\\u0001unreadable"'
    return True


def _table_before(lines: list[str], number: int) -> list[str]:
    """The lines between the header of the table that line `number` is in and that line."""
    before = lines[: number - 1]
    start = max((index for index, line in enumerate(before) if line.lstrip().startswith("[")), default=-1)
    return before[start + 1 :]


class _Scanner:
    """Finds the line of each statement in a text known to be valid TOML. Keys inside inline tables have none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[TomlPath, int] = {}
        self._counts: dict[TomlPath, int] = {}

    def scan(self) -> dict[TomlPath, int]:
        table: TomlPath = ()
        while self._skip_blank():
            line = self._line
            if self._text[self._at] == "[":
                table = self._header()
                self._lines.setdefault(table, line)
                continue
            path = table + self._key()
            self._at += 1  # the "="
            self._value()
            for length in range(len(table) + 1, len(path) + 1):
                self._lines.setdefault(path[:length], line)
        return self._lines

    def _header(self) -> TomlPath:
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        name = self._key()
        self._at += 2 if many else 1
        path: TomlPath = ()
        for index, part in enumerate(name):
            path += (part,)
            if many and index == len(name) - 1:
                self._counts[path] = self._counts.get(path, -1) + 1
                self._lines.setdefault(path, self._line)
            if path in self._counts:
                path += (self._counts[path],)
        return path

    def _skip_blank(self) -> bool:
        """Move to the next statement; False at the end."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                self._at = self._end_of_line()
            elif char in " \t\r\n":
                self._line += char == "\n"
                self._at += 1
            else:
                return True
        return False

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._spaces()
            if self._text[self._at] in "\"'":
                start = self._at
                self._string()
                parts.append(str(tomllib.loads(f"k = {self._text[start : self._at]}")["k"]))
            else:
                found = _BARE.match(self._text, self._at)
                if found is None:
                    return tuple(parts)
                parts.append(found[0])
                self._at = found.end()
            self._spaces()
            if self._at >= len(self._text) or self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _spaces(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        mark = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(mark)
        while not self._text.startswith(mark, self._at):
            if quote == '"' and self._text[self._at] == "\\":
                self._at += 1
            self._line += self._text[self._at] == "\n"
            self._at += 1
        self._at += len(mark)
        while len(mark) == 3 and self._at < len(self._text) and self._text[self._at] == quote:
            self._at += 1  # up to two quotes may stand before the closing three

    def _value(self) -> None:
        depth = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "\"'":
                self._string()
                continue
            if char == "#":
                self._at = self._end_of_line()
                continue
            if char == "\n" and depth == 0:
                return
            depth += (char in "[{") - (char in "]}")
            self._line += char == "\n"
            self._at += 1
