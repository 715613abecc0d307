"""A runner that brings one fault about and then waits to be killed: python -m ... KIND PID PORT LINK PARAMS.

PID and PORT are the victim's, LINK a symbolic link to its model, with the journal beside it, PARAMS those that are not
the kind's defaults, as JSON. One line on stdout once the fault is in force: the process ids of the guardian, or of the
proxy, and of its children, none where the runner itself brings it about; or why it was refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import psutil

from scenarios.address import DIRECT
from scenarios.faults.clock_step import ClockStepInjector
from scenarios.faults.holder import HolderInjector
from scenarios.faults.injector import FaultRefused, Injector
from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.kind import Via
from tests.integration.held_faults import order_of, subject_of


def _say(word: object) -> None:
    print(json.dumps(word), flush=True)


def _in_force() -> None:
    """Called while the holders hold: all that was started here are theirs."""
    _say([process.pid for process in psutil.Process().children(recursive=True)])


async def main(kind: str, pid: int, port: int, link: Path, params: dict[str, float | str]) -> None:
    url = f"http://127.0.0.1:{port}"
    injector: Injector
    if KINDS[kind].via is Via.PROXY:
        from scenarios.faults.proxy import ProxyInjector

        injector = await ProxyInjector.start(url, DIRECT, link.parent, 1)
    elif KINDS[kind].via is Via.RUNNER:
        injector = ClockStepInjector()
    else:
        subject = subject_of(lambda: {"server": pid}, url, link)
        injector = await HolderInjector.start(dataclasses.replace(subject, journal=link.parent / "journal.db"))
    try:
        await injector.hold(order_of(kind, for_s=60.0, **params), _in_force)
    except FaultRefused as refused:
        _say(str(refused))
        await injector.close()
        return
    await asyncio.sleep(60.0)  # an instant one is over, and its guardian is there


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), json.loads(sys.argv[5])))
