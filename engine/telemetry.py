"""What the machine is doing: GPUs by NVML, the host and the engine's processes by psutil.

Nothing here raises for a missing value: it is None, and where a whole source is missing, `note` says why.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import psutil

GPU_INTERVAL_S = 1.0  # the driver averages utilisation over up to a second; asking more often tells nothing new


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU by NVML; None where the driver does not tell. Bytes, watts, degrees Celsius."""

    index: int
    name: str
    utilisation: float | None = None  # 0..1
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttled: str = ""  # what holds its clocks down, in words; empty also where the driver does not tell


@dataclass(frozen=True, slots=True)
class HostSample:
    """The whole machine since the last sample. Shares are 0..1; steal is None where the kernel does not count it."""

    cpu: float | None
    memory: float
    memory_used: int  # bytes
    memory_total: int
    steal: float | None


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """A group of processes since the last sample: cores in use (None on the first), bytes resident, how many live."""

    cpu: float | None
    rss: int
    alive: int


class GpuMonitor:
    """The GPUs of this machine. Without any, `sample()` is empty and `note` says why in one line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.note = ""
        self._clock = clock
        self._nvml: ModuleType | None = None
        self._gpus: list[tuple[int, str, Any]] = []
        self._lost: set[int] = set()
        self._last: tuple[GpuSample, ...] = ()
        self._due = float("-inf")
        self._open()

    def _open(self) -> None:
        try:
            nvml = import_module("pynvml")
        except ImportError:
            self.note = "no GPU telemetry (the package nvidia-ml-py is not installed)"
            return
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            self.note = _why(nvml, error)
            return
        self._nvml = nvml
        try:
            for index in range(nvml.nvmlDeviceGetCount()):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                name = nvml.nvmlDeviceGetName(handle)
                self._gpus.append(
                    (index, name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name), handle)
                )
        except nvml.NVMLError as error:
            self.note = _why(nvml, error)
        if not self._gpus and not self.note:
            self.note = "an NVIDIA driver, but no GPU"

    def sample(self) -> tuple[GpuSample, ...]:
        """One sample for each GPU, at most a second old."""
        now = self._clock()
        if self._nvml is not None and now >= self._due:
            self._due = now + GPU_INTERVAL_S
            self._last = tuple(self._one(self._nvml, *gpu) for gpu in self._gpus if gpu[0] not in self._lost)
        return self._last

    def _one(self, nvml: ModuleType, index: int, name: str, handle: Any) -> GpuSample:
        def ask(read: Callable[[], Any]) -> Any:
            """A value, or None: NotSupported, NoPermission and the like are no reason to lose the others."""
            if index in self._lost:
                return None
            try:
                return read()
            except nvml.NVMLError as error:
                if getattr(error, "value", None) == nvml.NVML_ERROR_GPU_IS_LOST:
                    self._lost.add(index)
                    self.note = f"GPU {index} ({name}) is lost; the driver no longer reaches it"
                return None

        utilisation = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        heat = ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        return GpuSample(
            index=index,
            name=name,
            utilisation=None if utilisation is None else min(max(utilisation / 100, 0.0), 1.0),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            power_w=None if power is None else power / 1000,
            temperature_c=None if heat is None else float(heat),
            throttled=_held_down_by(nvml, ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0),
        )

    def close(self) -> None:
        """Let go of NVML; may be called twice."""
        nvml, self._nvml = self._nvml, None
        self._gpus, self._last = [], ()
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError as error:
                self.note = _why(nvml, error)


_REASONS = (
    ("SwThermalSlowdown", "heat"),
    ("HwThermalSlowdown", "heat"),
    ("SwPowerCap", "the power limit"),
    ("HwPowerBrakeSlowdown", "the power supply"),
    ("HwSlowdown", "the hardware"),
    ("SyncBoost", "another GPU"),
    ("ApplicationsClocksSetting", "a clock set by an application"),
    ("UserDefinedClocks", "a clock set by an application"),
)
"""NVML's names of what slows clocks down (nvmlClocksEventReason...); being idle is none of them."""


def _held_down_by(nvml: ModuleType, reasons: int) -> str:
    words = [
        text
        for name, text in _REASONS
        if reasons & getattr(nvml, f"nvmlClocksEventReason{name}", getattr(nvml, f"nvmlClocksThrottleReason{name}", 0))
    ]
    return ", ".join(dict.fromkeys(words))


def _why(nvml: ModuleType, error: Exception) -> str:
    """One line for a user on why there is no GPU telemetry."""
    texts = {
        "NVML_ERROR_LIBRARY_NOT_FOUND": "no NVIDIA driver (NVML library not found)",
        "NVML_ERROR_DRIVER_NOT_LOADED": "the NVIDIA driver is not loaded (the library is there; does nvidia-smi work?)",
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "NVIDIA driver and library differ in version (a reboot mends that)",
        "NVML_ERROR_NO_PERMISSION": "no permission to ask the NVIDIA driver (are /dev/nvidia* in the container?)",
        "NVML_ERROR_GPU_IS_LOST": "a GPU is lost; the driver no longer reaches it",
    }
    value = getattr(error, "value", None)
    for name, text in texts.items():
        if value is not None and value == getattr(nvml, name, None):
            return text
    return f"NVML does not work: {' '.join(str(error).split())[:120]}"


class HostMonitor:
    """CPU, memory and steal of this machine, each over the time since the last sample."""

    def __init__(self) -> None:
        self._last = psutil.cpu_times()

    def sample(self) -> HostSample:
        """The machine since the last sample."""
        now, last = psutil.cpu_times(), self._last
        self._last = now
        # The kernel counts guest time in user time as well.
        skip = {"guest", "guest_nice"}
        spent = {name: max(0.0, getattr(now, name) - getattr(last, name)) for name in now._fields if name not in skip}
        total = sum(spent.values())
        idle = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
        memory = psutil.virtual_memory()
        return HostSample(
            cpu=(total - idle - spent.get("steal", 0.0)) / total if total > 0 else None,
            memory=memory.percent / 100,
            memory_used=int(memory.total - memory.available),
            memory_total=int(memory.total),
            steal=spent["steal"] / total if total > 0 and "steal" in spent else None,
        )

    def close(self) -> None:
        """Nothing to let go of; here so that all monitors look alike."""


class ProcessMonitor:
    """Processes by pid; those that are gone are left out, and `set_pids` may name others at any time."""

    def __init__(self, pids: Iterable[int] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._processes: dict[int, psutil.Process] = {}
        self._cpu_s: dict[int, float] = {}
        self._at = clock()
        self.set_pids(pids)

    def set_pids(self, pids: Iterable[int]) -> None:
        """Watch these from now on. Known ones keep their history, unless the pid has gone to another process."""
        wanted = {pid for pid in pids if pid > 0}
        for pid in wanted | set(self._processes):
            known = self._processes.get(pid)
            if known is not None and pid in wanted and known.is_running():
                continue
            self._forget(pid)
            if pid in wanted:
                try:
                    self._processes[pid] = psutil.Process(pid)
                except psutil.Error:
                    continue

    def _forget(self, pid: int) -> None:
        self._processes.pop(pid, None)
        self._cpu_s.pop(pid, None)

    def sample(self) -> ProcessSample:
        """Cores in use since the last sample, and memory now; a process new to us counts from the next."""
        now = self._clock()
        elapsed_s, self._at = now - self._at, now
        spent_s, rss, alive, measured = 0.0, 0, 0, False
        for pid, process in list(self._processes.items()):
            try:
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    self._forget(pid)
                    continue
                with process.oneshot():
                    times = process.cpu_times()
                    rss += int(process.memory_info().rss)
            except psutil.NoSuchProcess:
                self._forget(pid)
                continue
            except psutil.AccessDenied:
                continue
            alive += 1
            total_s = float(times.user + times.system)
            if pid in self._cpu_s:
                spent_s += max(0.0, total_s - self._cpu_s[pid])
                measured = True
            self._cpu_s[pid] = total_s
        return ProcessSample(cpu=spent_s / elapsed_s if measured and elapsed_s > 0 else None, rss=rss, alive=alive)

    def close(self) -> None:
        """Forget all processes."""
        self._processes.clear()
        self._cpu_s.clear()


def describe_machine() -> dict[str, str | int | float | bool | None]:
    """Facts for a report. No host name, no user name, no path."""
    memory = psutil.virtual_memory()
    return {
        "cpu_model": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(logical=True),
        "usable_threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": int(memory.total),
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "Model")):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _os_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
