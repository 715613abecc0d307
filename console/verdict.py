"""A run's end, told: the report files, the verdict on stdout, the exit code."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from console import terminal
from console.exits import Exit, exit_of
from console.output import write_atomically
from scenarios.errors import TargetError
from scenarios.journal import JournalReader
from scenarios.report import Material, gather, render_json, render_junit, render_markdown, render_text


def load(journal: Path) -> Material:
    """A report's material from a journal: the document as the run left it, or rebuilt for one that has none."""
    with JournalReader(journal) as reader:
        document, alive = reader.document(), False
        if document is None:
            from console.liveness import is_alive
            from scenarios.rebuild import rebuild

            _refuse_failed(reader)
            document, alive = rebuild(reader), is_alive(journal)
        return gather(reader, document, alive)


def _refuse_failed(reader: JournalReader) -> None:
    """A run whose target never came up has nothing to report but that."""
    if reader.run().state == "failed" and next(reader.plan(), None) is None:
        reasons = [event.text for _, event in reader.events() if event.kind == "run.failed"]
        raise TargetError(f"run {reader.run().id} never began: {reasons[-1] if reasons else 'its target failed'}")


def tell(material: Material, journal: Path, args: argparse.Namespace) -> Exit:
    """Write --junit and --markdown, then the verdict as text or JSON on stdout.

    Returns the document's exit code; a report file that could not be written turns GO into a usage error, so that
    nobody waits for a file that is not there.
    """
    written = _write(material, args.junit, args.markdown)
    show(material, journal, args)
    code = exit_of(material.document)
    return Exit.USAGE if code is Exit.GO and not written else code


def show(material: Material, journal: Path, args: argparse.Namespace) -> None:
    """The document on stdout: exactly one JSON document with --json, else the table for people."""
    if args.json:
        terminal.emit_json(render_json(material.document))
        return
    paint = terminal.paint if terminal.colourful(sys.stdout, args.plain) else terminal.no_paint
    option = "" if args.runs_dir is None else f" --runs-dir {shlex.quote(str(args.runs_dir))}"
    terminal.emit(render_text(material, str(journal), terminal.width(sys.stdout), paint, option))


def _write(material: Material, junit: Path | None, markdown: Path | None) -> bool:
    written = True
    for path, render in ((junit, render_junit), (markdown, render_markdown)):
        if path is None:
            continue
        try:
            write_atomically(path, render(material))
        except OSError as error:
            terminal.say(f"{path} could not be written ({error.strerror}); `seatrial report` writes it again")
            written = False
    return written
