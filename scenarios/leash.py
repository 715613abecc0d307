"""A program on a leash: `python leash.py LIFELINE COMMAND...` runs it until it ends or the lifeline does.

LIFELINE is the read end of a pipe whose write end the caller holds: when the caller is gone, however it went, the
program and all that it has started are killed. The first line on stdout is the program's process id, which is also its
process group. The exit code is the program's, 128 + N for signal N, 127 where it cannot be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLEAR_S = 2.0


def main() -> int:
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes a child of this one
    woken, signals = socket.socketpair()
    for end in (woken, signals):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)

    def of_its_own() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    try:
        # One thread, so that code may run between fork and exec.
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=2, preexec_fn=of_its_own, start_new_session=True
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return 127
    print(program.pid, flush=True)  # noqa: T201  # the one thing the caller reads
    poll = select.poll()
    poll.register(lifeline, 0)
    poll.register(woken, select.POLLIN)
    while program.poll() is None:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if lifeline in ready:
            break
        if woken.fileno() in ready:
            woken.recv(4096)
    code = program.poll()
    _clear(program.pid)
    return 0 if code is None else code if code >= 0 else 128 - code


def _clear(group: int) -> None:
    """Kill what is left of the program: its group, and what has left the group but is a child of ours by now."""
    by_s = time.monotonic() + _CLEAR_S
    while time.monotonic() < by_s:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for pid in _children():
            with contextlib.suppress(PermissionError):  # it has become another user's
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(0.01)


def _children() -> list[int]:
    """Of this process; empty where the system does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing: there the program's group is all that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
