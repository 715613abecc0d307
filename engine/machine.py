"""What memory this machine has for a model: RAM as a container may use it, and the GPUs that llama.cpp lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from engine.fit import GpuRoom, Room
from engine.telemetry import GpuMonitor

_ROOT = Path(__file__).resolve().parents[1]
_CGROUP = Path("/sys/fs/cgroup")
_ASK_TIMEOUT_S = 60.0

# In a process of its own: a broken build of llama.cpp ends that process, and a GPU's memory is given back with it.
_ASK_GPUS = """
import ctypes, json
from engine.decode.bindings import L, devices
L.llama_backend_init()
found = []
for index, device in enumerate(devices()):
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    memory = L._lib.ggml_backend_dev_memory
    memory.argtypes, memory.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], None
    if device.is_gpu:
        memory(L._lib.ggml_backend_dev_get(index), ctypes.byref(free), ctypes.byref(total))
        found.append([device.description or device.name, total.value, free.value])
print("\\n" + json.dumps(found))
"""


def look(*, gpus: bool = True, ask: str = _ASK_GPUS, cgroup: Path = _CGROUP) -> Room:
    """The room there is now. gpus: whether to ask llama.cpp for them, which takes 0.1 s, and longer where there are."""
    memory = psutil.virtual_memory()
    total, available = int(memory.total), int(memory.available)
    if (limit := _cgroup_limit(cgroup)) is not None:
        total, available = min(total, limit[0]), min(available, limit[1])
    found, why = _ask_gpus(ask) if gpus else ((), "no layers on a GPU were asked for")
    return Room(total, available, found, why)


def _ask_gpus(ask: str) -> tuple[tuple[GpuRoom, ...], str]:
    """The GPUs of the llama.cpp build; else why there are none."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, timeout=_ASK_TIMEOUT_S, env=environment, check=False
        )
        if done.returncode == 0:
            rows = json.loads(done.stdout.splitlines()[-1])
            found = tuple(GpuRoom(str(name), int(total), int(free)) for name, total, free in rows)
            return found, "" if found else _why_none()
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return (), f"llama.cpp could not be asked for its devices ({type(error).__name__})"
    return (), f"asking llama.cpp for its devices ended with {done.returncode}; `seatrial doctor` says more"


def _why_none() -> str:
    monitor = GpuMonitor()
    try:
        if count := len(monitor.sample()):
            return f"the driver lists {count} GPUs, but llama.cpp is built without support for them"
        return f"llama.cpp lists no GPU: {monitor.note or 'no driver'}"
    finally:
        monitor.close()


def _cgroup_limit(folder: Path) -> tuple[int, int] | None:
    """Memory that this container may use, in all and still, in bytes; None where nothing limits it."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int((folder / limit_name).read_text(encoding="ascii"))
            used = int((folder / used_name).read_text(encoding="ascii"))
            cached = _file_cache(folder / limit_name)
        except (OSError, ValueError):  # not there, or "max"
            continue
        return limit, max(0, limit - used + cached)
    return None


def _file_cache(beside: Path) -> int:
    """Bytes of files in the cache, which the kernel gives up when memory is needed."""
    lines = beside.with_name("memory.stat").read_text(encoding="ascii").splitlines()
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get("inactive_file", 0)) + int(values.get("active_file", 0))
