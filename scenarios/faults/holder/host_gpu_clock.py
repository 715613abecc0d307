"""host.gpu_clock: the GPU's graphics clock is locked low. Needs root, as the driver asks for."""

from __future__ import annotations

from scenarios.faults.holder.gpus import gpu_of, nvml
from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.messages import Undo
from scenarios.faults.holder.undos import Args
from scenarios.faults.injector import FaultRefused


def lower_clock(hold: Hold) -> None:
    """`mhz`, or the nearest that the GPU knows."""
    mhz = int(hold.number("mhz"))
    with nvml() as library:
        index, handle = gpu_of(library, hold.pids.values())
        hold.to_undo(Undo("gpu_clock", {"index": index}))
        try:
            library.nvmlDeviceSetGpuLockedClocks(handle, mhz, mhz)
        except library.NVMLError as error:
            hold.undos.clear()  # nothing was locked, and the same right is needed to unlock
            raise FaultRefused(
                f"GPU {index}'s clock cannot be locked ({error}); the driver lets only root do so"
            ) from error
        hold.facts |= {"gpu": index, "mhz": mhz}
        hold.begun()
        hold.wait()


def reset_clock(args: Args) -> None:
    """Let the GPU choose its clock again. Raises OSError."""
    try:
        with nvml() as library:
            library.nvmlDeviceResetGpuLockedClocks(library.nvmlDeviceGetHandleByIndex(int(args["index"])))
    except Exception as error:
        raise OSError(f"GPU {args['index']}: {error}") from error
