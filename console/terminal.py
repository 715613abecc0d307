"""Standard output and error: data and talk, in colour or plain, on a terminal or in a pipe."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import IO

_ASCII = str.maketrans(
    {
        "✓": "+", "✗": "x", "≈": "~", "≤": "<=", "≥": ">=", "·": "-", "—": "-", "…": "...", "→": "->",
        "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "#", "▍": "#", "▎": "#", "▏": " ", "░": ".",
        "▁": "_", "▂": "_", "▃": "_", "▄": "=", "▅": "=", "▆": "=", "▇": "#", "│": "|", "└": "+", "─": "-", "┬": "+",
        "×": "x", "⚠": "!", "–": "-", "µ": "u",
    }
)  # fmt: skip

_LONGEST = 20_000
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_SGR = {"good": "32", "bad": "31", "warn": "33", "info": "36", "dim": "2", "strong": "1"}


def prepare() -> None:
    """Make the streams usable: a closed one becomes the null device, and what an encoding lacks is escaped.

    A closed stream's descriptor must be taken: the next file opened would get it, and the journal would be "stdout".
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def finish() -> None:
    """Flush; a reader that has gone away is no error at exit either."""
    for stream, drop in ((sys.stdout, drop_stdout), (sys.stderr, lambda: None)):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            drop()
        except OSError as error:  # a full disk behind `> file`
            say(f"cannot write the output ({error.strerror}); is the disk full?")
            drop()


def drop_stdout() -> None:
    """Send what is still buffered to nowhere, so that the interpreter does not complain at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no real file behind it (a test's buffer): nothing can complain
        return


def encodes(stream: IO[str]) -> bool:
    """Whether block and check glyphs can be written to it."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16", "utf32", "")


def fitted(text: str, stream: IO[str]) -> str:
    """`text` with the glyphs that the stream's encoding lacks replaced by ASCII ones."""
    return text if encodes(stream) else text.translate(_ASCII)


def emit(text: str) -> bool:
    """Write data to stdout and flush; False when the reader has gone away."""
    try:
        sys.stdout.write(fitted(text, sys.stdout))
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        return False
    return True


def emit_json(text: str) -> bool:
    """Write JSON to stdout as data: what its encoding cannot be trusted with becomes an escape of JSON's own."""
    if not encodes(sys.stdout):
        text = _NOT_ASCII.sub(lambda match: json.dumps(match.group())[1:-1], text)
    return emit(text)


def note(text: str) -> None:
    """One line of talk on stderr, without a prefix; silent when stderr has gone away."""
    try:
        sys.stderr.write(fitted(text, sys.stderr) + "\n")
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        return


def say(text: str) -> None:
    """One message on stderr in the shape `seatrial: what happened; what to do`; outside text in it is made safe."""
    if not text.isprintable():
        from scenarios.sanitise import view

        text = view(text, _LONGEST, lines=True)
    note(f"seatrial: {text}")


def interactive(stream: IO[str]) -> bool:
    """Whether a person sits at the stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def redraws(stream: IO[str]) -> bool:
    """Whether a person sits at a terminal that can take back what it has shown; TERM=dumb says that it cannot."""
    return interactive(stream) and os.environ.get("TERM") != "dumb"


def colourful(stream: IO[str], plain: bool) -> bool:
    """Colour only for a person who did not decline it (https://no-color.org)."""
    return redraws(stream) and not plain and not os.environ.get("NO_COLOR")


def paint(role: str, text: str) -> str:
    """`text` in the colour of a role; an unknown role leaves it as it is."""
    code = _SGR.get(role)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def no_paint(_: str, text: str) -> str:
    """`text` as it is: the painter for pipes, files and NO_COLOR."""
    return text


def width(stream: IO[str]) -> int:
    """Columns to write for: the terminal's, between 40 and 120; 80 where there is none."""
    if not interactive(stream):
        return 80
    return max(40, min(120, shutil.get_terminal_size((80, 24)).columns))
