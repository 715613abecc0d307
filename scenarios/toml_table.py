"""Reading one table of a TOML file, key by key: each wrong value becomes a Mistake with its line; reading goes on."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from scenarios.errors import Mistake
from scenarios.toml_lines import UNREADABLE, TomlPath, TomlText

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"
_DURATION = re.compile(rf"(?:{_PART})+")
_LOOSE = re.compile(r"\s*(-?[0-9]+(?:[.,][0-9]+)?)\s*([A-Za-z]*)\s*")
_LOOSE_UNITS = {
    "ms": ("msec", "msecs", "millis", "millisecond", "milliseconds"),
    "s": ("sec", "secs", "second", "seconds", ""),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
}
_SIZES = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,6}) ?(KB|MB|GB)")
_INF = math.inf


def seconds(text: str) -> float | None:
    """`"250ms"`, `"90s"`, `"3m"`, `"1.5h"`, `"1m30s"` in seconds; None for anything else."""
    if len(text) > 40 or not _DURATION.fullmatch(text):
        return None
    return math.fsum(float(amount) * SECONDS[unit] for amount, unit in re.findall(_PART, text))


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that the given one was most likely meant to be."""
    lowered = word.lower().replace("_", "-")
    by_shape = {name.lower().replace("_", "-"): name for name in known}
    found = difflib.get_close_matches(lowered[:80], by_shape, n=1, cutoff=0.6)
    return by_shape[found[0]] if found else None


def suggestion(word: str, known: Collection[str]) -> str:
    """A fix for an unknown word: the nearest known one, else all of them."""
    if near := nearest(word, known):
        return f'did you mean "{near}"?'
    return "choose one of: " + ", ".join(known)


def shown(value: object) -> str:
    """A value from a file in a message: short and printable."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(value: object) -> str:
    """What a TOML author calls the type of the value."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "true/false"), (int, "a number"), (float, "a number"), (str, "text"), (list, "a list"), (dict, "a table")
    )  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), "a date or time")


class Table:
    """A table being read. Each reader gives the value, or None after it has noted why there is none."""

    def __init__(
        self, data: Mapping[str, object], path: TomlPath, toml: TomlText, file: str, out: list[Mistake]
    ) -> None:
        self._data = data
        self._path = path
        self._toml = toml
        self._file = file
        self._out = out
        self._misspelt: set[str] = set()  # known keys that an unknown one was most likely meant to be

    def __contains__(self, key: str) -> bool:
        return key in self._data

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the author wrote."""
        return tuple(self._data)

    @property
    def line(self) -> int:
        """Where the table starts."""
        return self._toml.line_of(self._path)

    @property
    def noted(self) -> int:
        """Mistakes in the file so far: a reader that sees it grow has no sound value to give."""
        return len(self._out)

    @property
    def folder(self) -> Path:
        """Where the file lies: what relative paths in it are relative to."""
        return Path(self._file).absolute().parent

    def is_table(self, key: str) -> bool:
        """Whether the value is a table, for keys that take a plain value as well."""
        return isinstance(self._data.get(key), dict)

    @property
    def label(self) -> str:
        """The table as its author writes it; empty for the top of the file."""
        names = [part for part in self._path if isinstance(part, str)]
        listed = any(isinstance(part, int) for part in self._path)
        return "" if not names else f"[[{'.'.join(names)}]]" if listed else f"[{'.'.join(names)}]"

    def refuse(self, key: str | None, what: str, fix: str) -> None:
        """Note a mistake at the key's line, or at the table's."""
        line = self._toml.line_of((*self._path, key)) if key is not None else self.line
        self._out.append(Mistake(self._file, line, what, fix))

    def refuse_unknown(self, known: Collection[str], elsewhere: Mapping[str, str]) -> None:
        """Note each key that is not known; `elsewhere` says which table a key of that name belongs to."""
        for key in self._data:
            if key in known:
                continue
            where = f" in {self.label}" if self.label else ""
            home = elsewhere.get(key)
            near = nearest(key, known)
            self._misspelt |= {near} if near else set()
            if near is None and home and home != self.label:
                fix = f"it belongs under {home}"
            else:
                fix = suggestion(key, tuple(known))
            what = "unknown table" if isinstance(self._data[key], dict | list) and not self.label else "unknown key"
            self.refuse(key, f"{what} {shown(key)}{where}", fix)

    def _take(self, key: str, required: str) -> object | None:
        """The raw value; `required` is an example to show when it is missing, empty when it may be."""
        value = self._data.get(key)
        if value is None and required and key not in self._misspelt:
            where = f" in {self.label}" if self.label else ""
            self.refuse(None, f"missing key {key!r}{where}", f"add {key} = {required}")
        return None if value == UNREADABLE else value

    def _wrong_type(self, key: str, value: object, wanted: str, example: str) -> None:
        what = f"{key} must be {wanted}, not {kind_of(value)} ({shown(value)})"
        self.refuse(key, what, f"write for example {key} = {example}")

    def text(self, key: str, *, required: str = "", longest: int = 1000) -> str | None:
        """Text of 1 to `longest` characters, printable."""
        value = self._take(key, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(key, value, "text", required or '"..."')
            return None
        if not value.strip() or len(value) > longest or not value.replace("\n", " ").isprintable():
            self.refuse(key, f"{key} must be 1 to {longest} printable characters", "shorten it or take others out")
            return None
        return value

    def word(self, key: str, known: Collection[str], what: str, *, required: str = "") -> str | None:
        """One of the known words; `what` names the sort of word in messages."""
        value = self._take(key, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(key, value, "text", required or f'"{next(iter(known))}"')
            return None
        if value not in known:
            self.refuse(key, f"unknown {what} {shown(value)}", suggestion(value, known))
            return None
        return value

    def one_of(self, key: str, words: Collection[str]) -> str | None:
        """One of these words; None for anything else, which may be a value of another kind."""
        value = self._data.get(key)
        return value if isinstance(value, str) and value in words else None

    def number(
        self, key: str, *, required: str = "", low: float = -_INF, high: float = _INF, above: float = -_INF
    ) -> float | None:
        """A finite number in [low, high], and more than `above`."""
        value = self._take(key, required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            percent = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
            if percent:
                self.refuse(key, f"{key} has a wrong unit: {shown(value)}", f"write {float(percent[1]) / 100:g}")
            else:
                self._wrong_type(key, value, "a number", required or "1.0")
            return None
        return self._within(key, value, low, high, above)

    def whole(self, key: str, *, low: int, high: int, required: str = "") -> int | None:
        """A whole number in [low, high]."""
        value = self._take(key, required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong_type(key, value, "a whole number", str(max(low, 1)))
            return None
        return value if self._within(key, value, low, high, -_INF) is not None else None

    def names(self, key: str) -> tuple[str, ...] | None:
        """A list of one or more texts."""
        value = self._take(key, "")
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            self._wrong_type(key, value, "a list of names", '["..."]')
            return None
        return tuple(value)

    def numbers(self, key: str, *, low: float, high: float, fewest: int, most: int) -> tuple[float, ...] | None:
        """A list of `fewest` to `most` finite numbers in [low, high]."""
        value = self._take(key, "")
        if value is None:
            return None
        if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
            self._wrong_type(key, value, "a list of numbers", "[1.0, 4.0, 2.0]")
            return None
        if not fewest <= len(value) <= most:
            self.refuse(key, f"{key} has {len(value)} numbers", f"it must have {fewest} to {most}")
            return None
        for number in value:
            if self._within(key, number, low, high, -_INF) is None:
                return None
        return tuple(float(number) for number in value)

    def flag(self, key: str) -> bool | None:
        """true or false."""
        value = self._take(key, "")
        if value is None or isinstance(value, bool):
            return value
        self._wrong_type(key, value, "true or false", "true")
        return None

    def size(self, key: str) -> int | None:
        """Bytes: text such as "64MB", or 0."""
        value = self._take(key, "")
        if value is None or (value == 0 and isinstance(value, int) and not isinstance(value, bool)):
            return value
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.refuse(key, f"{key} is no size: {shown(value)}", 'write a size such as "64MB", or 0 for none')
            return None
        return int(found[1]) * _SIZES[found[2]]

    def amount(self, key: str, *, low: float, high: float) -> float | None:
        """Bytes in [low, high]: a whole number, or text such as "64KB"."""
        value = self._take(key, "")
        if value is None:
            return None
        if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
            return self._within(key, int(found[1]) * _SIZES[found[2]], low, high, -_INF)
        if isinstance(value, bool) or not isinstance(value, int):
            what = f"{key} is no number of bytes: {shown(value)}"
            self.refuse(key, what, 'write a whole number, or a size such as "64KB"')
            return None
        return self._within(key, value, low, high, -_INF)

    def duration(
        self, key: str, *, required: str = "", low: float = 0.0, high: float = _INF, above: float = -_INF
    ) -> float | None:
        """Seconds: a plain number, or text such as "250ms", "90s", "3m", "1.5h"."""
        value = self._take(key, required)
        if value is None:
            return None
        if isinstance(value, str):
            found = seconds(value)
            if found is None:
                self.refuse(key, f"{key} has a wrong unit: {shown(value)}", _duration_fix(value))
                return None
            return self._within(key, found, low, high, above)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong_type(key, value, "a duration", required or '"30s"')
            return None
        return self._within(key, value, low, high, above)

    def _within(self, key: str, value: float, low: float, high: float, above: float) -> float | None:
        number = float(value) if abs(value) < 1e300 or isinstance(value, float) else _INF
        if low <= number <= high and number > above and math.isfinite(number):
            return number
        bottom = f"more than {above:g}" if above > -_INF else f"at least {low:g}" if low > -_INF else ""
        top = f"at most {high:g}" if high < _INF else ""
        wanted = " and ".join(part for part in (bottom, top) if part) or "finite"
        self.refuse(key, f"{key} is out of range: {shown(value)}", f"it must be {wanted}")
        return None

    def table(self, key: str, *, required: str = "") -> Table | None:
        """A table of its own, `[key]` or inline."""
        value = self._take(key, "")
        if value is None:
            if required and key not in self._data:
                self.refuse(None, f"missing table [{key}]", f"add [{key}] with {required}")
            return None
        if not isinstance(value, dict):
            self._wrong_type(key, value, "a table", "{ ... }")
            return None
        return Table(value, (*self._path, key), self._toml, self._file, self._out)

    def nothing(self, key: str) -> Table:
        """An empty table in the key's place, for what may be a table and is not."""
        return Table({}, (*self._path, key), self._toml, self._file, self._out)

    def tables(self, key: str) -> tuple[Table, ...]:
        """A list of tables, `[[key]]`."""
        value = self._take(key, "")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.refuse(key, f"{key} must be a list of tables, not {kind_of(value)}", f"write [[{key}]] for each one")
            return ()
        return tuple(
            Table(entry, (*self._path, key, index), self._toml, self._file, self._out)
            for index, entry in enumerate(value)
        )


def _duration_fix(value: str) -> str:
    found = _LOOSE.fullmatch(value[:60])
    if found:
        for unit, others in _LOOSE_UNITS.items():
            if found[2].lower() in (unit, *others):
                return f'write "{found[1].replace(",", ".").lstrip("-")}{unit}"'
    return 'write a number with ms, s, m or h and no space: "250ms", "90s", "3m", "1.5h"'
