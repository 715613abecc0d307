"""An outside target: its URL read strictly, named back before load is sent, its key never in an argument."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console import terminal
from console.errors import UsageError
from scenarios.definition import Scenario
from scenarios.errors import TargetError

if TYPE_CHECKING:
    from scenarios.address import Road

API_KEY_ENV = "SEATRIAL_API_KEY"
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})


def read_target(text: str) -> str:
    """The base URL without /v1 of a target as a person writes it. Raises UsageError."""
    from scenarios.address import read_address

    try:
        return read_address(text).url
    except TargetError as error:
        raise UsageError(f"--target: {error}") from error


def check_choice(args: argparse.Namespace) -> None:
    """One target, and nothing that belongs to another. Raises UsageError."""
    what = {"--model": "the engine in here", "--target": "one elsewhere", "--launch": "one that is started for the run"}
    given = [
        name for name, value in zip(what, (args.model, args.target, args.launch), strict=True) if value is not None
    ]
    if len(given) > 1:
        words = " and ".join(f"{name} is for {what[name]}" for name in given)
        raise UsageError(f"{words}; give one of them")
    if args.target_pid is not None and args.target is None:
        raise UsageError("--target-pid belongs to a --target; what is started here is known already")


def check_launch(command: str) -> None:
    """Whether the command can be started and says where its port goes. Raises UsageError."""
    import shlex
    import shutil

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--launch {command!r}: {error}; write it as in a shell") from error
    if not any("{port}" in word for word in words):
        raise UsageError(f"--launch {command!r} does not say where the port goes; write it as {{port}}")
    if shutil.which(words[0]) is None:
        raise UsageError(f"--launch: there is no program {words[0]} to start; give its path")


def check_target_pid(text: str, target: str) -> None:
    """Whether it names the target's process. Raises UsageError."""
    from scenarios.address import read_address
    from scenarios.runner.target.given import GivenProcess

    address = read_address(target)
    if not address.is_loopback or address.socket:
        raise UsageError(f"--target-pid is for a target on a port of this machine, and {target} is none")
    try:
        GivenProcess(text, address).check()
    except TargetError as error:
        raise UsageError(f"--target-pid: {error}") from error


def read_road(args: argparse.Namespace) -> Road:
    """What --proxy, --header, --ca-file and --insecure say. Raises UsageError."""
    from scenarios.address import Road, read_proxy

    if args.target is None and (args.proxy or args.header or args.ca_file or args.insecure):
        raise UsageError("--proxy, --header, --ca-file and --insecure belong to a --target")
    try:
        proxy = read_proxy(args.proxy).url if args.proxy else ""
    except TargetError as error:
        raise UsageError(f"--proxy: {error}") from error
    headers = []
    for line in args.header:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise UsageError('--header takes "Name: value", or "Name: env:VARIABLE" for a value that is a secret')
        if name.strip().lower() in _SECRET_HEADERS and not value.strip().startswith("env:"):
            raise UsageError(f"--header {name.strip()}: a secret does not belong on a command line; write env:VARIABLE")
        headers.append((name.strip(), value.strip()))
    return Road(proxy, tuple(headers), str(args.ca_file.absolute()) if args.ca_file else "", not args.insecure)


def load_key(path: Path | None) -> None:
    """Put the key in `path` where the run looks for it: this process's environment, which no report shows."""
    if path is None:
        return
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"--api-key-file {path} cannot be read ({why}); give a text file with the key") from error
    if len(lines) != 1 or not lines[0].isascii():
        raise UsageError(f"--api-key-file {path} holds {len(lines)} words; it should hold the key and nothing else")
    if mode & 0o077:
        terminal.say(f"{path} can be read by others; `chmod 600 {path}` keeps the key yours")
    os.environ[API_KEY_ENV] = lines[0]


def key_env(target: str | None) -> str | None:
    """The name of the variable with the key; None when there is none or the engine in here needs none."""
    return API_KEY_ENV if target and os.environ.get(API_KEY_ENV) else None


def check_owner(args: argparse.Namespace, target: str, scenario: Scenario) -> None:
    """Faults are for this machine, and for what the user says is their own.

    Raises:
        UsageError
    """
    from scenarios.address import read_address

    elsewhere = not all(read_address(url).is_loopback for url in (target, args.proxy) if url)
    if elsewhere and (scenario.faults or scenario.chaos) and not args.i_own_this_target:
        kinds = ", ".join(sorted({fault.kind for fault in scenario.faults})) or "of a chaos search"
        raise UsageError(
            f"{scenario.name} injects faults ({kinds}) and {target} is not this machine; "
            "add --i-own-this-target if it is yours to disturb"
        )


def confirm(args: argparse.Namespace, target: str, scenario: Scenario | None) -> None:
    """Name a target other than this machine back to the user before anything is sent to it.

    Raises:
        UsageError: declined, not confirmed, or faults against a target that is not the user's own.
    """
    from scenarios.address import read_address

    if all(read_address(url).is_loopback for url in (target, args.proxy) if url):
        return
    if scenario is not None:
        check_owner(args, target, scenario)
    if key_env(target) and target.startswith("http://"):
        terminal.say(f"the key goes to {target} unencrypted; use https:// where you can")
    if args.yes:
        return
    what = describe_load(scenario) if scenario is not None else "load"
    if not (terminal.interactive(sys.stdin) and terminal.interactive(sys.stderr)):
        raise UsageError(f"this would send {what} to {target}, which is not this machine; add --yes if you mean it")
    sys.stderr.write(f"seatrial will send {what} to {target}, which is not this machine. Go ahead? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was sent; the target was not confirmed")


def describe_load(scenario: Scenario) -> str:
    """`about 720 requests in 180 s, up to 20 a second`; a session counts as one."""
    from scenarios.describe import peak_rate
    from scenarios.rates import expected_count

    arrivals = scenario.arrivals
    many = f"about {expected_count(arrivals):,.0f} requests"
    peak = peak_rate(arrivals)
    if peak is None:
        return f"{many}, {arrivals.concurrency:,} at a time"
    return f"{many} in {arrivals.duration_s:g} s, up to {peak:g} a second"
