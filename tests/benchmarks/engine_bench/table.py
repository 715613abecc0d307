"""The table: one row a target and case, as Markdown, as JSON that later runs add to, and inside a document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.benchmarks.engine_bench.errors import BenchmarkError
from tests.benchmarks.engine_bench.stats import Estimate

BEGIN, END = "<!-- engine-table -->", "<!-- /engine-table -->"
LOAD = "load average before"
"""A fact that differs from target to target."""
_NO_GPU = (
    "On a GPU: not run. Where there is one, `python tests/benchmarks/engine.py --all --gpu-layers 99 --shape 1b` "
    "(or `8b`) measures targets 1 to 4."
)


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
    where: str = ""
    """Empty on the CPU, else which GPU run it is: "GPU, 1b"."""

    @property
    def run(self) -> str:
        """Rows of one run of one target share it."""
        return f"{self.target} ({self.where})" if self.where else str(self.target)


class Document(msgspec.Struct, frozen=True):
    """The JSON file: rows of the newest run of each target, the numbers behind them, and where they were measured."""

    rows: list[Row] = []
    facts: dict[str, dict[str, str]] = {}
    """Row.run -> facts."""
    measurements: dict[str, Any] = {}
    """Row.run -> what `measure` returned."""


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


def render(document: Document) -> str:
    """A Markdown table, then where each target was measured; targets measured at one place share a line."""
    lines = ["| # | what | asked | measured | 95 % interval | |", "|---|---|---|---|---|---|"]
    for row in sorted(document.rows, key=lambda row: (bool(row.where), row.where, row.target)):
        glyph = {True: "✔ ", False: "✘ ", None: ""}[row.met]
        cells = (row.run, row.what, row.asked, row.measured, row.interval, glyph + row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    places: dict[str, list[str]] = {}
    for run, facts in document.facts.items():
        place = "; ".join(f"{name}: {value}" for name, value in facts.items() if name != LOAD)
        places.setdefault(place, []).append(f"{run} (load before {facts.get(LOAD, 'unknown')})")
    lines += ["", *(f"{place}. Targets {', '.join(runs)}." for place, runs in places.items())]
    if not any(row.where for row in document.rows):
        lines += ["", _NO_GPU]
    return "\n".join(lines)


def load(path: Path) -> Document:
    """An empty document when there is no file. Raises BenchmarkError when it holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except FileNotFoundError:
        return Document()
    except (msgspec.MsgspecError, OSError) as error:
        raise BenchmarkError(f"{path} is not a result of this benchmark ({error}); name another file") from error


def merged(old: Document, rows: Sequence[Row], facts: dict[str, str], measurements: Any) -> Document:
    """`old` with the rows of this run, which are of one target, in the place of earlier ones of the same kind."""
    run = rows[0].run
    kept = [row for row in old.rows if row.run != run]
    return Document([*kept, *rows], old.facts | {run: facts}, old.measurements | {run: measurements})


def save(path: Path, document: Document) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def write_into(path: Path, table: str) -> None:
    """Put the table between the two marks of a document. Raises BenchmarkError when it does not have them."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise BenchmarkError(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text), encoding="utf-8")
