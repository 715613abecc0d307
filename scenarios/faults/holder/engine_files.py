"""Faults of what the target needs to start: its model's file, a warm cache, its port.

The user's model is never touched: an engine under trial is started from a symbolic link in the run's folder, and it is
the link that leads elsewhere for a while.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from scenarios.address import read_address
from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.parts import demanded, kill_and_wait, living
from scenarios.faults.holder.process import Process
from scenarios.faults.holder.undos import draft_of, kill, link_to, relink, remove
from scenarios.faults.injector import FaultRefused

_LOOK_S = 0.02
_TRY_S = 0.005

Write = Callable[[Path, Path, Callable[[], bool]], None]


def _model(hold: Hold) -> tuple[str, str]:
    """The link that the engine is started from, and where it leads. Raises FaultRefused."""
    link = hold.subject.model_link
    if not link or not os.path.islink(link):
        raise FaultRefused(f"{hold.order.kind}: it needs the embedded engine with a model in one file")
    return link, os.readlink(link)


def _cold_start(hold: Hold) -> None:
    if not hasattr(os, "posix_fadvise"):
        raise FaultRefused(f"{hold.order.kind}: this system cannot drop one file from its page cache")
    _, model = _model(hold)
    processes = demanded(hold)
    with open(model, "rb", buffering=0) as file:
        kill_and_wait(hold, processes)  # pages that a process has mapped stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        hold.facts["bytes"] = os.fstat(file.fileno()).st_size
    hold.begun()


def _port_taken(hold: Hold) -> None:
    """Kill it, and be quicker to bind its port than it is when it comes back, if it ever lets go of it."""
    address = read_address(hold.subject.url)
    if not address.is_loopback or address.socket:
        raise FaultRefused(f"{hold.order.kind}: it needs a target on a port of this machine")
    processes = demanded(hold)
    host = "127.0.0.1" if address.host == "localhost" else address.host
    kill_and_wait(hold, processes)
    hold.begun()
    rival: socket.socket | None = None
    while rival is None and not hold.wait(_TRY_S):
        rival = _take(host, address.port)
    if rival is None:
        hold.facts["port"] = "never let go of: connections waited for the target"
        return
    hold.facts["port"] = "taken"
    with rival:
        hold.facts["turned_away"] = _turn_away(hold, rival)


def _take(host: str, port: int) -> socket.socket | None:
    """A socket that listens there; None while somebody else does."""
    version6 = ":" in host
    rival = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_STREAM)
    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the old one may linger
    try:
        rival.bind((host, port))
        rival.listen()
    except OSError:
        rival.close()
        return None
    rival.setblocking(False)
    return rival


def _turn_away(hold: Hold, rival: socket.socket) -> int:
    """Somebody else's service: it takes connections and closes them. How many."""
    turned_away = 0
    while not hold.wait(_LOOK_S):
        try:
            while True:
                rival.accept()[0].close()
                turned_away += 1
        except BlockingIOError:
            continue
    return turned_away


def _model_missing(hold: Hold) -> None:
    link, model = _model(hold)
    processes = demanded(hold)
    hold.to_undo(relink(link, model))
    hold.to_undo(remove(draft_of(link)))
    link_to(link, f"{link}.missing")
    kill_and_wait(hold, processes)
    hold.begun()
    hold.wait()


def _model_truncated(hold: Hold) -> None:
    from scenarios.faults.holder.model_copies import write_half

    _replaced(hold, write_half)
    hold.begun()
    hold.wait()


def _model_swapped(hold: Hold) -> None:
    """Processes that have come up with the other model are killed at the end, so that none outlives the fault."""
    from scenarios.faults.holder.model_copies import write_other

    before = set(_replaced(hold, write_other))
    hold.begun()
    promised: set[Process] = set()

    def look() -> bool:
        for process in living(hold):
            if process not in before and process not in promised:
                promised.add(process)
                hold.to_undo(kill(process))
        return False

    hold.wait(until=look, every_s=_LOOK_S)
    look()


def _replaced(hold: Hold, write: Write) -> tuple[Process, ...]:
    """The link leads to what `write` makes of the model, and the target is killed; its processes until then."""
    link, model = _model(hold)
    processes = demanded(hold)
    copy = f"{link}.{hold.order.number}"
    hold.to_undo(relink(link, model))
    hold.to_undo(remove(copy))
    hold.to_undo(remove(draft_of(link)))
    try:
        write(Path(model), Path(copy), lambda: hold.wait(0.0))
    except OSError as error:
        raise FaultRefused(f"{hold.order.kind}: the copy {copy} cannot be written ({error.strerror})") from error
    if hold.wait(0.0):
        raise FaultRefused(f"{hold.order.kind}: it was ended while the model was copied")
    link_to(link, copy)
    kill_and_wait(hold, processes)
    return processes


FILE_HOLDERS = MappingProxyType(
    {
        "engine.cold_start": _cold_start,
        "engine.port_taken": _port_taken,
        "engine.model_missing": _model_missing,
        "engine.model_truncated": _model_truncated,
        "engine.model_swapped": _model_swapped,
    }
)
