"""host.gpu_memory: memory of the target's GPU is taken until only so much is left. The driver frees it with us."""

from __future__ import annotations

import ctypes
from typing import Any

from scenarios.faults.holder.gpus import gpu_of, nvml
from scenarios.faults.holder.hold import Hold
from scenarios.faults.injector import FaultRefused

LEAST_LEFT = 64 << 20
_STEP = 256 << 20
_LEAST = 2 << 20  # what the driver gives at once
_LOOK_S = 0.05


def hog_gpu_memory(hold: Hold) -> None:
    """Holds `most` bytes at most, and leaves `leave`; gives all back once less than half of that is left."""
    leave, most = max(int(hold.number("leave")), LEAST_LEFT), int(hold.number("most"))
    with nvml() as library:
        index, handle = gpu_of(library, [process.pid for process in hold.parts.values()])
        bus = library.nvmlDeviceGetPciInfo(handle).busId
    cuda = Cuda(_library(), bus if isinstance(bus, bytes) else str(bus).encode())
    held: list[tuple[int, int]] = []
    taken_most, given_back = 0, 0
    while True:
        left, held_bytes = cuda.left(), sum(size for _, size in held)
        step = min(left - leave, most - held_bytes, _STEP)
        address = cuda.take(step) if step >= _LEAST else 0
        if address:
            held.append((address, step))
            taken_most = max(taken_most, held_bytes + step)
        elif left < leave // 2:
            while held:
                cuda.give_back(held[-1][0])
                given_back += held.pop()[1]
        elif hold.begun_s is None:
            hold.begun()
        hold.facts |= {"gpu": index, "bytes": taken_most, "given_back": given_back}
        if hold.wait(0.0 if address else _LOOK_S):
            return


class Cuda:
    """The few calls of the CUDA driver's interface that are needed, on one GPU, named by its bus address."""

    def __init__(self, library: Any, bus: bytes) -> None:
        """Raises FaultRefused."""
        self._library = library
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._ask("cuInit", ctypes.c_uint(0))
        self._ask("cuDeviceGetByPCIBusId", ctypes.byref(device), ctypes.c_char_p(bus))
        self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._ask("cuCtxSetCurrent", context)

    def left(self) -> int:
        """Free bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def take(self, size: int) -> int:
        """The address of so many bytes; 0 where the GPU has none in one piece."""
        address = ctypes.c_uint64()
        failed = self._library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        return 0 if failed else address.value

    def give_back(self, address: int) -> None:
        self._ask("cuMemFree_v2", ctypes.c_uint64(address))

    def _ask(self, call: str, *arguments: Any) -> None:
        if code := getattr(self._library, call)(*arguments):
            raise FaultRefused(f"the CUDA driver refused {call} (error {code}); is the GPU in use by others alone?")


def _library() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise FaultRefused("there is no libcuda.so.1 here; it comes with NVIDIA's driver") from error
