"""host.gpu_clock: the GPU's graphics clock is locked low. Needs root, as the driver asks for."""

from __future__ import annotations

from scenarios.faults.holder import undos
from scenarios.faults.holder.gpus import gpu_of, nvml
from scenarios.faults.holder.hold import Hold
from scenarios.faults.injector import FaultRefused


def lower_clock(hold: Hold) -> None:
    """`mhz`, or the nearest that the GPU knows."""
    mhz = int(hold.number("mhz"))
    with nvml() as library:
        index, handle = gpu_of(library, [process.pid for process in hold.parts.values()])
        hold.to_undo(undos.unlock(index))
        try:
            library.nvmlDeviceSetGpuLockedClocks(handle, mhz, mhz)
        except library.NVMLError as error:
            hold.undos.clear()  # nothing was locked, and the same right is needed to unlock
            raise FaultRefused(
                f"GPU {index}'s clock cannot be locked ({error}); run it as root, whom the driver lets, or leave it out"
            ) from error
        hold.facts |= {"gpu": index, "mhz": mhz}
        hold.begun()
        hold.wait()
