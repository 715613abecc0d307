"""Trace files in every format that is read, written row by row from the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from scenarios.journal import JournalWriter
from scenarios.observation import Observation, Outcome

HUNDRED_NS = 100
MS = 1_000_000
SECOND = 1_000_000_000
_START = datetime(2024, 2, 28, 23, 59, 58)  # a leap day is near


@dataclass(frozen=True)
class Row:
    """One request; `session` empty: none."""

    at_ns: int
    prompt: int
    output: int
    session: str = ""
    blocks: tuple[int, ...] = ()


def azure_2023(path: Path, rows: Sequence[Row]) -> Path:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for row in rows:
        stamp = _START + timedelta(seconds=row.at_ns // SECOND)
        lines.append(f"{stamp:%Y-%m-%d %H:%M:%S}.{row.at_ns % SECOND // HUNDRED_NS:07},{row.prompt},{row.output}")
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    return path


def azure_2024(path: Path, rows: Sequence[Row]) -> Path:
    """As pandas writes stamps: without a fraction where it is 0, else with six digits."""
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for row in rows:
        stamp = _START + timedelta(microseconds=row.at_ns // 1000)
        lines.append(f"{stamp}+00:00,{row.prompt},{row.output}")
    path.write_text("\n".join([*lines, ""]))
    return path


def burstgpt(path: Path, rows: Sequence[Row]) -> Path:
    lines = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    lines += [
        f"{seconds(row.at_ns)},ChatGPT,{row.prompt},{row.output},{row.prompt + row.output},Conversation log"
        for row in rows
    ]
    path.write_text("\n".join([*lines, ""]))
    return path


def burstgpt_3(path: Path, rows: Sequence[Row]) -> Path:
    lines = ["Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    lines += [
        f"{seconds(row.at_ns)},{row.session},1.5,GPT-4,{row.prompt},{row.output},{row.prompt + row.output},API log"
        for row in rows
    ]
    path.write_text("\n".join([*lines, ""]))
    return path


def mooncake(path: Path, rows: Sequence[Row]) -> Path:
    """As published: byte for byte what Python's json writes."""
    path.write_text("".join(json.dumps(mooncake_row(row)) + "\n" for row in rows))
    return path


def mooncake_compact(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(mooncake_row(row), separators=(",", ":")) + "\n" for row in rows))
    return path


def mooncake_row(row: Row) -> dict[str, object]:
    return {
        "timestamp": row.at_ns // MS,
        "input_length": row.prompt,
        "output_length": row.output,
        "hash_ids": list(row.blocks),
    }


def journal(path: Path, rows: Sequence[Row]) -> Path:
    path = path.parent / f"run {path.name}" / "journal.sqlite"
    writer = JournalWriter(path)
    writer.add_observations(
        Observation(
            index=index,
            due_ns=row.at_ns,
            outcome=Outcome.OK,
            end_ns=row.at_ns + 1,
            prompt_tokens=row.prompt,
            completion_tokens=row.output,
        )
        for index, row in enumerate(rows)
    )
    writer.close()
    return path


def seconds(at_ns: int) -> str:
    """Seconds with as many digits as they need, at least one."""
    return f"{at_ns // SECOND}.{at_ns % SECOND:09}".rstrip("0") + "0" * (at_ns % SECOND == 0)


# each with the finest step of time that it can write, in ns
FORMATS: dict[Callable[[Path, Sequence[Row]], Path], int] = {
    azure_2023: HUNDRED_NS,
    azure_2024: 1000,
    burstgpt: 1,
    burstgpt_3: 1,
    mooncake: MS,
    mooncake_compact: MS,
    journal: 1,
}
