"""The command line: one parser, each command in a module of its own that is imported only when it is named."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from console import terminal
from console.errors import ConsoleError
from console.exits import Exit

COMMANDS: dict[str, str] = {
    "run": "run one scenario headless; the exit code is the verdict",
    "resume": "finish the plan of a run that was interrupted or died",
    "faults": "list the kinds of faults, and what each needs",
    "inject": "bring a fault about in a run that goes on, or end all of them",
    "serve": "only the engine, as an OpenAI-compatible server",
    "scenarios": "list, show or check scenarios",
    "runs": "list the runs made so far, newest first",
    "show": "the verdict and the evidence of one run",
    "compare": "hold one run against another; regressions first",
    "watch": "follow a run while it goes on",
    "report": "write a run's report again: text, JSON, JUnit, Markdown",
    "export": "a run's observations as JSON lines or CSV",
    "doctor": "check this machine, each finding with its fix",
}

_EPILOG = """\
examples:
  seatrial                               open the console (needs a terminal)
  seatrial --start peak-traffic          open the console and start a scenario at once
  seatrial run peak-traffic              run it headless; the exit code is the verdict
  seatrial run peak-traffic --target http://localhost:8000 --json
  seatrial show last                     the newest run's verdict

exit codes:
  0 GO   1 NO-GO   2 usage or bad input   3 INCONCLUSIVE   4 INVALID
  5 the target or the load could not be started or reached   70 a bug in seatrial   130 interrupted

`seatrial COMMAND --help` explains each command.
"""

Handler = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse in this project's error shape: what happened; what to do. Options are written out in full.

    An option that may be cut short could never be told from a new one that begins alike.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        terminal.say(f"{message}; `{self.prog} --help` shows what there is")
        raise SystemExit(Exit.USAGE)


def build_parser(wanted: Iterable[str] = COMMANDS) -> Parser:
    """The parser with the commands in `wanted` configured; the others are only named."""
    wanted = set(wanted)
    parser = Parser(
        prog="seatrial",
        usage="seatrial [OPTIONS]          the console\n       seatrial COMMAND [OPTIONS]  everything without a screen",
        description="A sea trial for LLM services: load, odd input, drift and faults, watched live, judged.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from console.options import add_console_options

    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog="seatrial", parser_class=Parser
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(handler=_console, command=None)
    add_console_options(parser)
    for name, what in COMMANDS.items():
        if name not in wanted:
            commands.add_parser(name, help=what, add_help=False)
            continue
        module = importlib.import_module(f"console.commands.{name}")
        command = commands.add_parser(
            name,
            help=what,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(command)
        command.set_defaults(handler=module.handle)
    return parser


def _console(args: argparse.Namespace) -> int:
    from console.commands import start

    return start.handle(args)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; only the modules of the commands named in it are imported."""
    from console.options import refuse_misplaced

    parser = build_parser(set(argv) & COMMANDS.keys())
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.prog = f"seatrial {args.command}" if args.command else parser.prog
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if args.command is not None:
        refuse_misplaced(parser, args)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code and never raises for what a user can cause."""
    terminal.prepare()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would fight the load workers for the cores
    try:
        code = _main(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse: --help and usage errors
        code = stop.code if isinstance(stop.code, int) else Exit.GO
    terminal.finish()
    return int(code)


def _main(argv: Sequence[str]) -> int:
    from scenarios.errors import HarnessError

    try:
        args = parse(argv)
        if args.version:
            terminal.emit(f"seatrial {_version()}\n")
            return Exit.GO
        handler: Handler = args.handler
        return handler(args)
    except (HarnessError, ConsoleError) as error:
        terminal.say(str(error))
        return code_of(error)
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has seen enough: `seatrial runs | head`
        terminal.drop_stdout()
        return Exit.GO
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _bug(error, argv)
        where = "" if error.filename is None else f" {error.filename}"
        terminal.say(f"{error.strerror}{where}; check the path, its permissions and the disk")
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 - the last resort: a bug becomes one line and a saved traceback
        return _bug(error, argv)


def _bug(error: Exception, argv: Sequence[str]) -> Exit:
    from console.crash import save_traceback

    cause = error
    while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    terminal.say(f"a bug in seatrial: {type(cause).__name__}: {cause}; {save_traceback(error, argv)}")
    return Exit.INTERNAL


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("seatrial")
    except metadata.PackageNotFoundError:
        return "(a checkout that is not installed; `make setup` does that)"


def code_of(error: Exception) -> Exit:
    """The exit code of an error that was raised on purpose."""
    from console.errors import DownloadError, LaunchError
    from scenarios.errors import HarnessError, StoppedEarly, TargetError

    if isinstance(error, StoppedEarly):
        return Exit.INTERRUPTED
    # A bare one: preflight or load workers failed. The report of such a run says 5 as well: it failed.
    failed = isinstance(error, TargetError | DownloadError | LaunchError) or type(error) is HarnessError
    return Exit.TARGET if failed else Exit.USAGE
