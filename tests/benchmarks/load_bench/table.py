"""The table: one row a number, as Markdown, as JSON that later runs add to, and inside a document."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

BEGIN, END = "<!-- load-table -->", "<!-- /load-table -->"


class Row(msgspec.Struct, frozen=True):
    """One number that was measured. Without `bound` it is for information; without `measured` it was not run."""

    target: int
    what: str
    measured: float | None = None
    unit: str = ""
    bound: float | None = None
    at_least: bool = False
    """Whether `bound` is the least that is asked for; else it is the most."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where nothing was asked or nothing measured. False for NaN."""
        if self.bound is None or self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def asked(self) -> str:
        if self.bound is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {self.bound:,.10g} {self.unit}".strip()

    @property
    def shown(self) -> str:
        if self.measured is None:
            return ""
        digits = 0 if abs(self.measured) >= 100 else 2
        return f"{self.measured:,.{digits}f} {self.unit}".strip()

    @property
    def ratio(self) -> str:
        """Measured to asked."""
        return f"{self.measured / self.bound:.2f}" if self.bound and self.measured is not None else ""

    @property
    def verdict(self) -> str:
        words = {True: "✔ met", False: "✘ SHORT", None: "for information"}[self.met]
        if self.measured is None:
            words = "not run"
        return f"{words}: {self.note}" if self.note else words


class Document(msgspec.Struct, frozen=True):
    """The JSON file: the rows of the newest run of each target and, by its number, where that was.

    tables: by number, what a target has to show beside its rows, as Markdown.
    """

    rows: list[Row] = []
    places: dict[str, str] = {}
    tables: dict[str, str] = {}


def not_run(target: int, what: str, why: str) -> Row:
    return Row(target, what, note=why)


def medians(rounds: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of several rounds as one: medians, the smallest and largest of them in the note."""
    found = []
    for same in zip(*rounds, strict=True):
        values = [row.measured for row in same if row.measured is not None]
        if len(values) < 2:
            found.append(same[0])
            continue
        low, high = (msgspec.structs.replace(same[0], measured=at(values)).shown for at in (min, max))
        spread = f"median of {len(values)} rounds, {low} to {high}"
        note = f"{spread}; {same[-1].note}" if same[-1].note else spread
        found.append(msgspec.structs.replace(same[0], measured=statistics.median(values), note=note))
    return found


def place() -> str:
    """Where and when a target is measured, in words."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{os.cpu_count()} cores {cpu or platform.processor()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load before {load}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def render(document: Document) -> str:
    lines = ["| # | what | asked | measured | of the bound | |", "|---|---|---|---|---|---|"]
    for row in sorted(document.rows, key=lambda row: row.target):
        cells = (str(row.target), row.what, row.asked, row.shown, row.ratio, row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    places: dict[str, list[str]] = {}
    for target, where in sorted(document.places.items(), key=lambda item: int(item[0])):
        places.setdefault(where, []).append(target)
    lines += ["", *(f"Targets {', '.join(targets)}: {where}." for where, targets in places.items())]
    for _, table in sorted(document.tables.items(), key=lambda item: int(item[0])):
        lines += ["", table]
    return "\n".join(lines)


def load(path: Path) -> Document:
    """An empty document when there is no file. Raises ValueError when it holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except FileNotFoundError:
        return Document()
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is not a result of this benchmark ({error}); name another file") from error


def merged(old: Document, target: int, rows: Sequence[Row], where: str, table: str = "") -> Document:
    """`old` with these rows, and this table, in the place of earlier ones of the same target."""
    kept = [row for row in old.rows if row.target != target]
    tables = {number: text for number, text in old.tables.items() if number != str(target)}
    return Document([*kept, *rows], old.places | {str(target): where}, tables | ({str(target): table} if table else {}))


def save(path: Path, document: Document) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document, enc_hook=float), indent=1) + b"\n")


def write_into(path: Path, table: str) -> None:
    """Put the table between the two marks of a document. Raises ValueError when it does not have them."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text), encoding="utf-8")
