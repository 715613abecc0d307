"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONSOLE_PREFIX = "console_"
"""Options of the bare `seatrial` carry this before their name, so that a command's own options never shadow them."""


def seconds(text: str) -> float:
    """`90s`, `3m`, `1m30s`, `500ms`, or plain seconds; more than nothing."""
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no duration (write 90s, 3m or 1m30s)") from None
    if not 0 < value <= 7 * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 7 days")
    return value


def preflight(text: str) -> float:
    """A duration in which a noise floor can be measured: below half a second its 99th percentile is chance."""
    value = seconds(text)
    if not 0.5 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 500ms and 60s")
    return value


def blast_share(text: str) -> float:
    """A share of the traffic, more than none: `0.5` or `50%`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share (write one such as 0.5)") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return value


def rate(text: str) -> float:
    """Requests per second, more than none."""
    try:
        value = float(text.removesuffix("/s"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate (write requests per second, such as 8)") from None
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 100000 requests per second")
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not between {low} and {high}")
        return value

    return read


def run_id(text: str) -> str:
    """A run's id becomes a folder's name, so nothing else passes."""
    if not _RUN_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no run id (letters, digits, '.', '_' and '-')")
    return text


def add_runs_dir(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """--runs-dir."""
    parser.add_argument(
        "--runs-dir",
        dest=f"{prefix}runs_dir",
        type=Path,
        metavar="DIR",
        help="where runs are kept (default: $SEATRIAL_HOME/runs, else the platform's data directory)",
    )


def add_plain(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """--plain."""
    parser.add_argument(
        "--plain",
        dest=f"{prefix}plain",
        action="store_true",
        help="no colour, no rewritten line, no screen: plain lines only (NO_COLOR takes away the colour alone)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def add_run_name(parser: argparse.ArgumentParser) -> None:
    """RUN and --runs-dir, of every command that reads a journal."""
    parser.add_argument("run", metavar="RUN", help="a run's id, the start or end of one, `last`, or a journal file")
    add_runs_dir(parser)


def add_trial_options(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """What a run is made with: target or model, seed, overrides, workers."""
    group = parser.add_argument_group("the trial")

    def add(name: str, **settings: object) -> None:
        group.add_argument(f"--{name}", dest=prefix + name.replace("-", "_"), **settings)  # type: ignore[arg-type]

    add(
        "target",
        metavar="URL",
        help="an OpenAI-compatible endpoint, with or without /v1, or unix:PATH (default: the engine in here)",
    )
    add(
        "launch",
        metavar="COMMAND",
        help="start this server for the run, on the port that takes {port}'s place, and again when it dies",
    )
    add(
        "launch-timeout",
        type=seconds,
        default=120.0,
        metavar="T",
        help="how long it may take until it answers (default: 2m)",
    )
    add(
        "target-pid",
        metavar="PID|FILE",
        help="the process of a --target on this machine, or a file that holds its number, for faults of processes",
    )
    add("model", metavar="PATH|hf:ORG/REPO:FILE", help="a GGUF file for the engine (default: the demo model)")
    add("seed", type=whole(0, 2**63 - 1), default=1, metavar="N", help="same scenario and seed, same plan (default: 1)")
    add(
        "rate",
        type=rate,
        metavar="X",
        help="override the steady or base rate, requests per second; a peak keeps its ratio to it",
    )
    add("duration", type=seconds, metavar="T", help="override the scenario's duration, such as 90s or 3m")
    add("workers", type=whole(1, 64), default=1, metavar="N", help="load worker processes (default: 1)")
    add(
        "preflight",
        type=preflight,
        default=5.0,
        metavar="T",
        help="how long the noise floor is measured before the first request, at least 500ms (default: 5s)",
    )
    add("api-key-file", type=Path, metavar="FILE", help="file with the target's key (else $SEATRIAL_API_KEY)")
    add(
        "header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header of every request to the target; a VALUE of env:VARIABLE is never written down",
    )
    add("proxy", metavar="URL", help="an HTTP proxy before the target, such as http://localhost:3128")
    add("ca-file", type=Path, metavar="FILE", help="PEM certificates to trust beside the system's own")
    add("insecure", action="store_true", help="take any certificate of the target's (tests only)")
    add("redact", action="store_true", help="keep no prompts and no answers in the journal, only lengths and hashes")
    add(
        "blast-radius",
        type=blast_share,
        metavar="SHARE",
        help="refuse a scenario with a fault that hits more than this share of the traffic (such as 0.5)",
    )
    add("i-own-this-target", action="store_true", help="allow faults against a target other than this machine")
    add("yes", action="store_true", help="do not ask before sending load to a target other than this machine")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How the verdict of a run that is made now is told."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout instead of the table")
    group.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report, one test case for each gate")
    group.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    add_plain(parser)


def add_console_options(parser: argparse.ArgumentParser) -> None:
    """Options of the bare `seatrial`, which opens the console."""
    parser.add_argument(
        "--start",
        dest=f"{_CONSOLE_PREFIX}start",
        metavar="SCENARIO",
        help="open the console and start this scenario at once (without a terminal: run it headless)",
    )
    parser.add_argument(
        "--readonly",
        dest=f"{_CONSOLE_PREFIX}readonly",
        action="store_true",
        help="look only: the console starts, stops and disturbs nothing",
    )
    add_plain(parser, _CONSOLE_PREFIX)
    add_runs_dir(parser, _CONSOLE_PREFIX)
    add_trial_options(parser, _CONSOLE_PREFIX)


def console_options(args: argparse.Namespace) -> argparse.Namespace:
    """The bare command's options under their own names."""
    found = {key.removeprefix(_CONSOLE_PREFIX): value for key, value in vars(args).items() if _is_console(key)}
    return argparse.Namespace(**found)


def refuse_misplaced(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """`seatrial --runs-dir X runs` would silently drop X: refuse it and say where the option goes."""
    for key, value in vars(args).items():
        if _is_console(key) and value != parser.get_default(key):
            option = "--" + key.removeprefix(_CONSOLE_PREFIX).replace("_", "-")
            parser.error(f"{option} goes after the command: seatrial {args.command} ... {option}")


def _is_console(key: str) -> bool:
    return key.startswith(_CONSOLE_PREFIX)
