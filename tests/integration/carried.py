"""The proxy on a thread of a test's own process, before a port on which the test answers itself, byte by byte."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from scenarios.address import DIRECT
from scenarios.faults.injector import Order
from scenarios.faults.proxy.__main__ import Control
from scenarios.faults.proxy.loop import Loop
from scenarios.faults.proxy.messages import FromProxy, InForce, Lines, Over, Ready, Setup, Start, Stop, ToProxy, line


class Carried:
    """`far` listens in the target's place; `pair` is a client's connection and the one that comes out there."""

    def __init__(self, folder: Path) -> None:
        self.far = socket.create_server(("127.0.0.1", 0))
        self._ours, theirs = socket.socketpair()
        self._loop = Loop()
        Control(self._loop, theirs)
        self._thread = threading.Thread(target=self._loop.run)
        self._thread.start()
        self._lines = Lines(FromProxy)
        self._theirs = theirs
        self._numbers = 0
        url = f"http://127.0.0.1:{self.far.getsockname()[1]}"
        ready = self.tell(Setup(url, DIRECT, str(folder / "ca.pem"), 7), Ready)
        assert isinstance(ready, Ready)
        self._port = ready.port

    def tell(self, message: ToProxy, answer: type) -> object:
        self._ours.sendall(line(message))
        while True:
            for one in self._lines.feed(self._ours.recv(65_536)):
                if isinstance(one, answer):
                    return one

    def start(self, kind: str, **params: float | str) -> int:
        self._numbers += 1
        self.tell(Start(Order(number=self._numbers, kind=kind, for_s=600.0, params=params)), InForce)
        return self._numbers

    def stop(self, number: int) -> None:
        self.tell(Stop(number), Over)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near = socket.create_connection(("127.0.0.1", self._port))
        far, _ = self.far.accept()
        for one in (near, far):
            one.settimeout(20)
        return near, far

    def close(self) -> None:
        self._ours.close()
        self._thread.join(20)
        self._loop.close()
        self._theirs.close()
        self.far.close()
