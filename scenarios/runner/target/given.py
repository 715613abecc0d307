"""The process of a target that somebody else runs, named by the operator: a number, or a file that holds one."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from scenarios.address import Address
from scenarios.errors import TargetError
from scenarios.runner.target.family import Family, descendants


class GivenProcess:
    """`text` as --target-pid has it; `address` the target's. Only what passes `check` is ever named."""

    def __init__(self, text: str, address: Address) -> None:
        self._text = text
        self._address = address
        self._family: Family | None = None

    def check(self) -> None:
        """Find the process now.

        Raises:
            TargetError: there is none, it is another user's, this run is a part of it, or nothing of it listens on the
            target's port.
        """
        self._family = Family(_checked(_read(self._text), self._address))

    def processes(self) -> dict[str, int]:
        """The process and its descendants by part; empty while there is none. A file is read anew when it is gone."""
        if self._family is None or not self._family.lives:
            try:
                self.check()
            except TargetError:
                self._family = None
        return {} if self._family is None else self._family.parts()


def _read(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        words = Path(text).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise TargetError(f"{text} cannot be read ({why}); give a process id or a file that holds one") from error
    if not words or not words[0].isdecimal():
        raise TargetError(f"{text} holds no process id; give a process id or a file that begins with one")
    return int(words[0])


def _checked(pid: int, address: Address) -> psutil.Process:
    try:
        process = psutil.Process(pid)
        uid = process.uids().effective
    except (psutil.Error, OverflowError) as error:
        raise TargetError(f"there is no process {pid}; give the one that listens on port {address.port}") from error
    if uid != os.geteuid():
        raise TargetError(f"process {pid} is another user's; run this as the user that the target runs as")
    own = psutil.Process()
    if pid in (own.pid, *(one.pid for one in own.parents())):
        what = f"process {pid} has started this run: what strikes its descendants would strike the run"
        raise TargetError(f"{what}; give the one that listens on port {address.port}")
    if not any(address.port in _ports(one) for one in (process, *descendants(process))):
        what = f"neither process {pid} nor a child of it listens on port {address.port}"
        raise TargetError(f"{what}; give the one that does")
    return process


def _ports(process: psutil.Process) -> set[int]:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return set()
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
