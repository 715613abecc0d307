"""Faults of the target's processes: killed, stopped, held short of descriptors."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable
from itertools import count, islice
from types import MappingProxyType

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.parts import ALL, demanded, living, strike
from scenarios.faults.holder.process import Process, stands
from scenarios.faults.holder.undos import go_on, limit
from scenarios.faults.injector import FaultRefused

_LOOK_S = 0.02
_STANDS_S = 1.0
"""A process that the kernel holds up is stopped as soon as it is let go: no need to wait for that."""


def _kill(hold: Hold) -> None:
    hold.facts["killed"] = strike(demanded(hold, hold.word("part")), signal.SIGKILL)
    hold.begun()


def _term(hold: Hold) -> None:
    hold.facts["signalled"] = strike(demanded(hold, hold.word("part")), signal.SIGTERM)
    hold.begun()


def _stop(hold: Hold) -> None:
    processes = demanded(hold, hold.word("part"))
    for process in processes:
        hold.to_undo(go_on(process))
    hold.facts["stopped"] = strike(processes, signal.SIGSTOP)
    hold.wait(_STANDS_S, until=lambda: all(map(stands, processes)), every_s=0.001)
    hold.begun()
    hold.wait()


def _restart_loop(hold: Hold) -> None:
    killed = strike(demanded(hold), signal.SIGKILL)
    hold.begun()
    while not hold.wait(hold.number("every")) and not hold.wait(until=lambda: bool(living(hold)), every_s=_LOOK_S):
        killed += strike(living(hold), signal.SIGKILL)
        hold.facts["killed"] = killed
    hold.facts["killed"] = killed


def _pause(hold: Hold) -> None:
    """Stop it for a slice, let it go on for as long as its share leaves, and so on."""
    share, slice_s = hold.number("stopped"), hold.number("slice")
    demanded(hold)
    promised: set[Process] = set()
    stops = 0
    over = False
    while not over:
        processes = living(hold)
        for process in processes:
            if process not in promised:  # of a target that was restarted meanwhile
                promised.add(process)
                hold.to_undo(go_on(process))
        stops += strike(processes, signal.SIGSTOP) > 0
        hold.facts["stops"] = stops
        if hold.begun_s is None:
            hold.begun()
        over = hold.wait(slice_s)
        strike(processes, signal.SIGCONT)
        over = over or hold.wait(slice_s / share - slice_s)


def _files(hold: Hold) -> None:
    """Lower how many descriptors each process may have, to what it has and a few; the hard limit stays as it is."""
    processes = demanded(hold, ALL)
    if not hasattr(resource, "prlimit"):
        raise FaultRefused(f"{hold.order.kind}: only Linux can limit another process; leave it out here")
    for process in processes:
        try:
            soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            most = limit_of(_open_descriptors(process), round(hold.number("spare")))
            hold.to_undo(limit(process, resource.RLIMIT_NOFILE, soft))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, hard))
        except (ProcessLookupError, FileNotFoundError):
            continue  # it ended meanwhile
        except PermissionError as error:
            what = f"the limits of the target's process {process.pid} cannot be changed"
            raise FaultRefused(f"{hold.order.kind}: {what} ({error.strerror}); run the target as yourself") from error
    hold.facts["limited"] = len(hold.undos)
    hold.begun()
    hold.wait()


def limit_of(used: Iterable[int], spare: int) -> int:
    """The number below which descriptors must stay so that exactly `spare` more can be opened.

    It is the highest there is, so that what is closed meanwhile can be used again.
    """
    taken = set(used)
    free = (number for number in count() if number not in taken)
    return next(islice(free, spare, None))


def _open_descriptors(process: Process) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{process.pid}/fd")]


PROCESS_HOLDERS = MappingProxyType(
    {
        "engine.kill": _kill,
        "engine.term": _term,
        "engine.stop": _stop,
        "engine.restart_loop": _restart_loop,
        "engine.files": _files,
        "host.pause": _pause,
    }
)
