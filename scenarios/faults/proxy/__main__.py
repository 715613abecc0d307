"""The proxy's process. Run as `python -m scenarios.faults.proxy FD`, FD being the inherited end of a socket pair.

It ends when the other end closes, so also when the runner was killed; meanwhile each fault ends at its own time.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import socket
import sys
from pathlib import Path

from scenarios.errors import TargetError
from scenarios.faults.injector import Ended, FaultRefused
from scenarios.faults.proxy.certificates import make_certificates
from scenarios.faults.proxy.loop import READ, Loop
from scenarios.faults.proxy.messages import (
    FromProxy,
    InForce,
    Lines,
    Over,
    Ready,
    Refused,
    Setup,
    Start,
    Stop,
    ToProxy,
    line,
)
from scenarios.faults.proxy.proxy import Proxy
from scenarios.load.priority import ask_for_short_turns
from scenarios.load.target import parse_target

_PR_SET_PDEATHSIG = 1


class Control:
    """Does what the runner says, and tells it what comes of it."""

    def __init__(self, loop: Loop, channel: socket.socket) -> None:
        self._loop = loop
        self._channel = channel
        self._lines = Lines(ToProxy)
        self._proxy: Proxy | None = None
        loop.watch(channel.fileno(), READ, self._readable)

    def _readable(self, _: int) -> None:
        try:
            data = self._channel.recv(64 << 10)
        except OSError:
            data = b""
        if not data:
            self._loop.stop()
        for message in self._lines.feed(data):
            self._hear(message)

    def _hear(self, message: ToProxy) -> None:
        match message:
            case Setup():
                self._say(self._set_up(message))
            case Start(order) if self._proxy is not None:
                try:
                    self._proxy.start(order)
                except FaultRefused as error:
                    self._say(Refused(order.number, str(error)))
                else:
                    self._say(InForce(order.number))
            case Stop(number) if self._proxy is not None:
                self._proxy.end(number)

    def _set_up(self, setup: Setup) -> Ready:
        try:
            target = parse_target(setup.base_url, road=setup.road)
            certificates = make_certificates(Path(setup.ca_file)) if target.tls is not None else None
            self._proxy = Proxy(self._loop, target, certificates, setup.seed, self._over)
        except (TargetError, OSError) as error:
            return Ready(problem=str(error))
        gc.collect()
        gc.freeze()
        return Ready(self._proxy.port, certificates is not None)

    def _over(self, ended: Ended) -> None:
        self._say(Over(ended))

    def _say(self, message: FromProxy) -> None:
        try:
            self._channel.sendall(line(message))
        except OSError:  # the runner is gone, and so is what this process is for
            self._loop.stop()


def main(channel: socket.socket) -> None:
    """Serve until the other end of `channel` closes."""
    die_with_the_runner()
    ask_for_short_turns()
    lift_file_limit()
    loop = Loop()
    Control(loop, channel)
    loop.run()


def die_with_the_runner() -> None:
    """Have the kernel end this process too; without, the end of the channel does."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def lift_file_limit() -> None:
    """Two descriptors for each connection: as many as we may have."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's are for the runner
    main(socket.socket(fileno=int(sys.argv[1])))
