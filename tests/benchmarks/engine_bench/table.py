"""The table: one row a target and case, as Markdown, as JSON that later runs add to, and inside a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.benchmarks.engine_bench.errors import BenchmarkError
from tests.benchmarks.engine_bench.stats import Estimate

BEGIN, END = "<!-- engine-table:begin -->", "<!-- engine-table:end -->"


class Row(msgspec.Struct, frozen=True):
    """What was asked, what was measured. `met`: None when nothing was asked or nothing measured."""

    target: int
    what: str
    asked: str
    measured: str
    interval: str = ""
    met: bool | None = None
    verdict: str = ""
    """met, short by ..., not run: ..., for information."""


class Document(msgspec.Struct, frozen=True):
    """The JSON file: rows of the newest run of each target, the numbers behind them, and where they were measured."""

    rows: list[Row] = []
    facts: dict[str, dict[str, str]] = {}
    """Target number -> facts of its run."""
    measurements: dict[str, Any] = {}
    """Target number -> what `measure` returned."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What is asked of a number: at least or at most `limit`."""

    limit: float
    at_least: bool
    unit: str = "x"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    def holds(self, value: float) -> bool:
        """False for NaN."""
        return value >= self.limit if self.at_least else value <= self.limit

    def verdict(self, value: float, low: float | None = None, high: float | None = None) -> str:
        """Words for a measured value; `low` and `high` are its interval, if it has one."""
        doubt = low is not None and high is not None and self.holds(low) != self.holds(high)
        if self.holds(value):
            words = "met"
        elif value != value:
            return "not measured"
        elif self.limit:
            words = f"short by {abs(value - self.limit) / self.limit:.0%}"
        else:
            words = f"short by {abs(value):g}{self.unit}"
        return words + (" (the interval allows either)" if doubt else "")


def judged(target: int, what: str, bound: Bound, value: Estimate, digits: int = 2) -> Row:
    """A row about an estimate with its interval."""
    return Row(
        target,
        what,
        str(bound),
        f"{value.show(digits)}{bound.unit}",
        value.interval(digits),
        bound.holds(value.value),
        bound.verdict(value.value, value.low, value.high),
    )


def not_run(target: int, what: str, asked: str, why: str) -> Row:
    return Row(target, what, asked, "", verdict=f"not run: {why}")


def for_information(target: int, what: str, measured: str, interval: str = "") -> Row:
    return Row(target, what, "", measured, interval, verdict="for information")


def render(rows: Iterable[Row], facts: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table, then where each target was measured; targets measured at one place share a line."""
    lines = ["| # | what | asked | measured | 95 % interval | |", "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row.target):
        glyph = {True: "✔ ", False: "✘ ", None: ""}[row.met]
        cells = (str(row.target), row.what, row.asked, row.measured, row.interval, glyph + row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    places: dict[str, list[str]] = {}
    for target, found in sorted(facts.items(), key=lambda item: int(item[0])):
        places.setdefault("; ".join(f"{name}: {value}" for name, value in found.items()), []).append(target)
    lines += ["", *(f"Target {', '.join(targets)}: {place}." for place, targets in places.items())]
    return "\n".join(lines)


def load(path: Path) -> Document:
    """An empty document when there is no file. Raises BenchmarkError when it holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except FileNotFoundError:
        return Document()
    except (msgspec.MsgspecError, OSError) as error:
        raise BenchmarkError(f"{path} is not a result of this benchmark ({error}); name another file") from error


def merged(old: Document, target: int, rows: Sequence[Row], facts: dict[str, str], measurements: Any) -> Document:
    """`old` with this target's rows replaced."""
    kept = [row for row in old.rows if row.target != target]
    return Document(
        [*kept, *rows],
        old.facts | {str(target): facts},
        old.measurements | {str(target): measurements},
    )


def save(path: Path, document: Document) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def write_into(path: Path, table: str) -> None:
    """Put the table between the two marks of a document. Raises BenchmarkError when it does not have them."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise BenchmarkError(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text), encoding="utf-8")
