"""The proxy's process: told on standard input, tells on standard output; it ends when its input does."""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from scenarios.errors import HarnessError
from scenarios.faults.proxy.control import Down, End, Failed, On, Over, Put, Ready, Setup, Up
from scenarios.faults.proxy.loop import Loop
from scenarios.faults.proxy.server import Server
from scenarios.load.target import parse_target

_READ_BYTES = 65_536


def main() -> None:
    """Set up as the first line says, serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the runner's to answer
    decoder = msgspec.json.Decoder(Down)
    setup = decoder.decode(sys.stdin.buffer.readline())
    if not isinstance(setup, Setup):
        raise SystemExit("the first line is no setup")
    loop = Loop()
    try:
        server = Server(
            loop, parse_target(setup.url, "", setup.road), setup.certificates, lambda ended: _say(Over(ended))
        )
    except (HarnessError, OSError) as error:
        _say(Failed(str(error)))
        return
    rest = b""

    def hear(_: int) -> None:
        nonlocal rest
        data = os.read(0, _READ_BYTES)
        if not data:
            loop.stop()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            match decoder.decode(line):
                case Put(order):
                    server.put(order)
                    _say(On(order.number))
                case End(number):
                    server.end(number, "asked")

    loop.watch(0, 1, hear)
    _say(Ready(server.port))
    loop.run()


def _say(message: Up) -> None:
    try:
        os.write(1, msgspec.json.encode(message) + b"\n")
    except BrokenPipeError:
        raise SystemExit from None  # the runner is gone


if __name__ == "__main__":
    main()
