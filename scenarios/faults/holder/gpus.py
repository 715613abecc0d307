"""Which GPU the target runs on: no fault touches another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from scenarios.faults.injector import FaultRefused


@contextmanager
def nvml() -> Iterator[ModuleType]:
    """NVIDIA's management library. Raises FaultRefused where there is none."""
    library = import_module("pynvml")
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise FaultRefused(f"there is no NVIDIA GPU to be reached ({error}); `seatrial doctor` says more") from error
    try:
        yield library
    finally:
        library.nvmlShutdown()


def gpu_of(library: ModuleType, pids: Collection[int]) -> tuple[int, Any]:
    """(index, handle) of the GPU that one of the processes uses. Raises FaultRefused where that cannot be told."""
    handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
    index = choice([_users(library, handle) for handle in handles], pids)
    return index, handles[index]


def unlock_clock(index: int) -> None:
    """Let this GPU choose its clock. Raises OSError."""
    try:
        with nvml() as library:
            try:
                library.nvmlDeviceResetGpuLockedClocks(library.nvmlDeviceGetHandleByIndex(index))
            except library.NVMLError as error:
                raise OSError(f"GPU {index}: {error}; `nvidia-smi -i {index} -rgc` as root does the same") from error
    except FaultRefused as error:
        raise OSError(str(error)) from error


def choice(users: Sequence[Collection[int]], pids: Collection[int]) -> int:
    """The first GPU with one of `pids` among its users; with a single GPU there is no question. Pure."""
    for index, found in enumerate(users):
        if set(found) & set(pids):
            return index
    if len(users) == 1:
        return 0
    if not users:
        raise FaultRefused("there is an NVIDIA driver but no GPU")
    raise FaultRefused(f"none of the {len(users)} GPUs is known to be the target's; name its process by --target-pid")


def _users(library: ModuleType, handle: Any) -> set[int]:
    asked: tuple[Callable[[Any], Any], ...] = (
        library.nvmlDeviceGetComputeRunningProcesses,
        library.nvmlDeviceGetGraphicsRunningProcesses,
    )
    found: set[int] = set()
    for ask in asked:
        try:
            found |= {int(user.pid) for user in ask(handle)}
        except library.NVMLError:  # not told, or not to us
            continue
    return found
