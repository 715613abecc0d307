"""A process to disturb, and a runner that holds faults against it: `from held_faults import Victim, subject_of`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from scenarios.address import DIRECT
from scenarios.faults.holder import HolderInjector, Subject
from scenarios.faults.injector import Ended, Order
from scenarios.faults.kinds import KINDS

_LISTENS = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        server.accept()[0].close()
"""


class Victim:
    """A process that listens on a port, and can be started again there."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def state(self) -> str:
        """As psutil names it; "gone" once it has ended."""
        if self.process.poll() is not None:
            return "gone"
        return str(psutil.Process(self.pid).status())


@contextmanager
def victim(port: int = 0) -> Iterator[Victim]:
    command = [sys.executable, "-c", _LISTENS, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Victim(process, int(process.stdout.readline()))
        finally:
            process.kill()


def subject_of(
    pids: Callable[[], dict[str, int]], url: str = "http://127.0.0.1:9", model_link: Path | None = None
) -> Subject:
    return Subject(
        url=url,
        road=DIRECT,
        model=None,
        key_env=None,
        journal=Path("journal.db"),
        runner_pid=os.getpid(),
        model_link=model_link,
        pids=pids,
    )


def order_of(kind: str, number: int = 1, for_s: float = 30.0, **params: float | str) -> Order:
    """An order with the kind's defaults but for `params`."""
    whole = {param.name: param.default for param in KINDS[kind].params} | params
    return Order(number=number, kind=kind, for_s=0.0 if KINDS[kind].instant else for_s, params=whole)


def until(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> float:
    """Wait until it holds; the seconds that took."""
    start = time.monotonic()
    while time.monotonic() - start < within_s:
        if condition():
            return time.monotonic() - start
        time.sleep(0.005)
    raise AssertionError(f"not within {within_s:g} s: {what}")


def taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


__all__ = ["Ended", "HolderInjector", "Victim", "order_of", "subject_of", "taken", "until", "victim"]
