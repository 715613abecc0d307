"""A run's observations, one row each, as JSON lines or CSV.

JSON lines hold every token time and the texts as they are. In CSV a text that a spreadsheet would take for a formula
gets an apostrophe in front. Times ending in _s count from the run's start, ttft_s and e2e_s from due."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console import options, terminal
from console.exits import Exit

if TYPE_CHECKING:
    from scenarios.journal import JournalReader
    from scenarios.observation import Observation

EXAMPLES = """\
examples:
  seatrial export last > observations.jsonl
  seatrial export last --format csv --output observations.csv
  seatrial export last --redact | head -1
"""

COLUMNS = (
    "index", "profile", "segment", "era", "outcome", "status", "due_s", "sent_s", "first_s", "answer_s", "last_s",
    "end_s", "ttft_s", "e2e_s", "prompt_tokens", "completion_tokens", "finish_reason", "retry_after_s", "correct",
    "findings", "worker", "error", "prompt", "answer",
)  # fmt: skip
_TEXTS = ("error", "prompt", "answer")


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_run_name(parser)
    parser.add_argument("--format", choices=("jsonl", "csv"), help="default: by the file's ending, else jsonl")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--redact", action="store_true", help="leave out prompts, answers and error texts")


def handle(args: argparse.Namespace) -> int:
    from console.errors import UsageError
    from console.output import check_writable, write_atomically
    from scenarios.journal import JournalReader
    from scenarios.runs import find_run, runs_dir

    check_writable("--output", args.output)
    kind = args.format or ("csv" if args.output and args.output.suffix.lower() == ".csv" else "jsonl")
    with JournalReader(find_run(runs_dir(args.runs_dir), args.run)) as reader:
        rows = _rows(reader, args.redact, every_token=kind == "jsonl")
        lines = _csv(rows, args.redact) if kind == "csv" else _jsonl(rows)
        if args.output is None:
            write = sys.stdout.write if kind == "csv" else terminal.emit_json
            for line in lines:
                write(line)
            sys.stdout.flush()
            return Exit.GO
        try:
            write_atomically(args.output, "".join(lines))
        except OSError as error:
            raise UsageError(f"{args.output} could not be written ({error.strerror}); is the disk full?") from error
    terminal.note(f"wrote {args.output}")
    return Exit.GO


def _rows(reader: JournalReader, redact: bool, every_token: bool) -> Iterator[dict[str, Any]]:
    findings: dict[int, list[str]] = {}
    for finding in reader.findings():
        findings.setdefault(finding.index, []).append(finding.category)
    correct = {judged.index: judged.correct for judged in reader.judged()}
    for observation in reader.observations():
        row = _row(observation)
        request = reader.request(observation.index)
        if request is not None:
            row |= {"profile": request.profile, "segment": request.segment, "era": request.era}
            row["prompt"] = request.prompt_text
        row["correct"] = correct.get(observation.index)
        row["findings"] = findings.get(observation.index, [])
        if every_token:
            row["event_s"] = [ns / 1e9 for ns in observation.event_ns]
        yield {key: value for key, value in row.items() if not (redact and key in _TEXTS)}


def _row(observation: Observation) -> dict[str, Any]:
    def since_start(ns: int | None) -> float | None:
        return None if ns is None else ns / 1e9

    def since_due(ns: int | None) -> float | None:
        return None if ns is None else (ns - observation.due_ns) / 1e9

    known = {
        "index": observation.index,
        "outcome": observation.outcome.value,
        "status": observation.status,
        "due_s": since_start(observation.due_ns),
        "sent_s": since_start(observation.sent_ns),
        "first_s": since_start(observation.first_ns),
        "answer_s": since_start(observation.answer_ns),
        "last_s": since_start(observation.last_ns),
        "end_s": since_start(observation.end_ns),
        "ttft_s": since_due(observation.first_ns),
        "e2e_s": since_due(observation.last_ns),
        "prompt_tokens": observation.prompt_tokens,
        "completion_tokens": observation.completion_tokens,
        "finish_reason": observation.finish_reason,
        "retry_after_s": observation.retry_after_s,
        "worker": observation.worker,
        "error": observation.error,
        "answer": observation.answer,
    }
    return {column: known.get(column) for column in COLUMNS}


def _jsonl(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    import msgspec

    from scenarios.report.document import escape_unsafe

    for row in rows:
        yield escape_unsafe(msgspec.json.encode(row).decode()) + "\n"


def _csv(rows: Iterator[dict[str, Any]], redact: bool) -> Iterator[str]:
    columns = [column for column in COLUMNS if not (redact and column in _TEXTS)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")  # RFC 4180
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: object) -> object:
    """Text from outside must not become a formula (OWASP, CSV injection), nor act on a terminal."""
    if isinstance(value, list):
        return ";".join(value)
    if not isinstance(value, str):
        return value
    text = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\n")) else text
