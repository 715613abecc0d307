"""host.memory: memory is taken until only so much is left, and given back before anybody else is short of it."""

from __future__ import annotations

import contextlib
from mmap import PAGESIZE, mmap
from pathlib import Path

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.memory_left import memory_left
from scenarios.faults.injector import FaultRefused

LEAST_LEFT = 256 << 20
_STEP = 16 << 20
_LEAST = 1 << 20  # less is not worth a step
_LOOK_S = 0.05


def hog_memory(hold: Hold) -> None:
    """Holds `most` bytes at most, and leaves `leave` (256 MB at least) of what this process could still be given."""
    leave, most = max(int(hold.number("leave")), LEAST_LEFT), int(hold.number("most"))
    if memory_left() < leave + min(_STEP, most):
        free = memory_left() >> 20
        raise FaultRefused(
            f"only {free} MB are available and {leave >> 20} MB are to be left; choose a smaller `leave`"
        )
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go, should the kernel need memory
    held: list[mmap] = []
    taken_most, given_back = 0, 0
    try:
        while True:
            step = step_of(memory_left(), sum(map(len, held)), leave, most)
            if step > 0:
                held.append(_touched(step))
                taken_most = max(taken_most, sum(map(len, held)))
            elif step < 0:
                while held and step < 0:
                    given_back += len(held[-1])
                    step += len(held[-1])
                    held.pop().close()
            elif hold.begun_s is None:
                hold.begun()
            if hold.wait(0.0 if step > 0 else _LOOK_S):
                return
    finally:
        for piece in held:
            piece.close()
        hold.facts |= {"bytes": taken_most, "given_back": given_back}


def step_of(available: int, held: int, leave: int, most: int) -> int:
    """How many bytes to take next; below zero: to give back, at least. Pure.

    It lets go of what is missing to `leave` once less than half of that is available: between the two it stands still.
    """
    if available < leave // 2:
        return -min(held, leave - available)
    room = min(available - leave, most - held, _STEP)
    return room // PAGESIZE * PAGESIZE if room >= _LEAST else 0


def _touched(size: int) -> mmap:
    """Memory that is really there: every page written once."""
    piece = mmap(-1, size)
    piece[::PAGESIZE] = b"\1" * -(-size // PAGESIZE)
    return piece
