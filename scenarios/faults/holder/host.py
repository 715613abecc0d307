"""The holders of the kinds that the machine suffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.host_cpu import hog_cpu
from scenarios.faults.holder.host_disk import fill_disk
from scenarios.faults.holder.host_gpu_clock import lower_clock
from scenarios.faults.holder.host_gpu_memory import hog_gpu_memory
from scenarios.faults.holder.host_memory import hog_memory

HOST_HOLDERS: Mapping[str, Callable[[Hold], None]] = MappingProxyType(
    {
        "host.cpu": hog_cpu,
        "host.disk_full": fill_disk,
        "host.gpu_clock": lower_clock,
        "host.gpu_memory": hog_gpu_memory,
        "host.memory": hog_memory,
    }
)
