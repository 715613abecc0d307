"""How parts of faults are undone, by name: functions of plain data that any process can call, and call twice."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Mapping

from scenarios.faults.holder.gpus import unlock_clock
from scenarios.faults.holder.messages import Undo
from scenarios.faults.holder.process import Process, lives, send

Args = Mapping[str, float | str]
UndoFunction = Callable[[Args], None]


def go_on(process: Process) -> Undo:
    """SIGCONT, where it is still the same process."""
    return Undo("continue", _args(process))


def kill(process: Process) -> Undo:
    """SIGKILL, where it is still the same process."""
    return Undo("kill", _args(process))


def limit(process: Process, what: int, soft: int) -> Undo:
    """Its resource limit `what` (resource.RLIMIT_...) back to `soft`, or as far as its hard one still allows."""
    return Undo("limit", {**_args(process), "what": what, "soft": soft})


def file_size(process: Process, bound: int, soft: int) -> Undo:
    """RLIMIT_FSIZE of it, and of what it has started meanwhile, from `bound` back to `soft`."""
    return Undo("file_size", {**_args(process), "bound": bound, "soft": soft})


def relink(path: str, to: str) -> Undo:
    """The symbolic link at `path` leads to `to` again; a folder that is gone needs none."""
    return Undo("relink", {"path": path, "to": to})


def remove(path: str) -> Undo:
    """The file that the fault made is not needed any more."""
    return Undo("remove", {"path": path})


def unlock(gpu: int) -> Undo:
    """The GPU chooses its clock itself again."""
    return Undo("unlock_clock", {"gpu": gpu})


def undo_all(undos: list[Undo]) -> tuple[str, ...]:
    """Undo in the order in which it was said, each whatever comes of the others; what could not be undone, and why."""
    problems = []
    for undo in undos:
        try:
            UNDOS[undo.what](undo.args)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others are undone and it is told
            problems.append(f"{undo.what}: {error}")
    return tuple(problems)


def link_to(path: str, to: str) -> None:
    """A symbolic link in place of whatever is at `path`, with no moment between the two. Raises OSError."""
    made = draft_of(path)
    os.symlink(to, made)
    os.replace(made, path)


def draft_of(path: str) -> str:
    """Where `link_to` makes the link that this process then puts in the place of `path`."""
    return f"{path}.{os.getpid()}"


def _args(process: Process) -> dict[str, float | str]:
    return {"pid": process.pid, "born": process.born}


def _process(args: Args) -> Process:
    return Process(int(args["pid"]), float(args["born"]))


def _continue(args: Args) -> None:
    send(_process(args), signal.SIGCONT)


def _kill(args: Args) -> None:
    send(_process(args), signal.SIGKILL)


def _limit(args: Args) -> None:
    process = _process(args)
    if lives(process):
        with contextlib.suppress(ProcessLookupError):
            _raise_limit(process.pid, int(args["what"]), int(args["soft"]))


def _file_size(args: Args) -> None:
    import psutil  # no other fault is inherited

    process, bound, soft = _process(args), int(args["bound"]), int(args["soft"])
    limited = [process.pid] if lives(process) else []
    while limited:  # those that were starting meanwhile, too
        for pid in limited:
            with contextlib.suppress(ProcessLookupError):
                _raise_limit(pid, resource.RLIMIT_FSIZE, soft)
        limited = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[0] == bound != soft:
                        limited.append(child.pid)


def _raise_limit(pid: int, what: int, soft: int) -> None:
    """Its soft limit back to this, or to its hard one where that is lower by now. Raises OSError."""
    _, hard = resource.prlimit(pid, what)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.prlimit(pid, what, (soft, hard))


def _relink(args: Args) -> None:
    with contextlib.suppress(FileNotFoundError):  # the run's folder was removed
        link_to(str(args["path"]), str(args["to"]))


def _remove(args: Args) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(str(args["path"]))


def _unlock_clock(args: Args) -> None:
    unlock_clock(int(args["gpu"]))


UNDOS: Mapping[str, UndoFunction] = {
    "continue": _continue,
    "file_size": _file_size,
    "kill": _kill,
    "limit": _limit,
    "relink": _relink,
    "remove": _remove,
    "unlock_clock": _unlock_clock,
}
"""By the `what` of an Undo. Each harms nothing where there is nothing to undo, and raises OSError where it cannot."""
