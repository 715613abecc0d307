"""The guardian's process: `python -m scenarios.faults.holder SOCKET LIFELINE TAIL`, descriptors of the runner's."""

from __future__ import annotations

import socket
import sys

from scenarios.faults.holder.guardian import Guardian
from scenarios.faults.holder.messages import Channel

if __name__ == "__main__":
    control, lifeline, tail = map(int, sys.argv[1:])
    Guardian(Channel(socket.socket(fileno=control)), lifeline, tail).run()
