"""GPU, host and process monitors, with a stand-in for NVML and without any."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.telemetry import GpuMonitor, HostMonitor, ProcessMonitor, describe_machine


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


CODES = {
    "NVML_ERROR_NOT_SUPPORTED": 3,
    "NVML_ERROR_NO_PERMISSION": 4,
    "NVML_ERROR_DRIVER_NOT_LOADED": 9,
    "NVML_ERROR_LIBRARY_NOT_FOUND": 12,
    "NVML_ERROR_GPU_IS_LOST": 15,
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": 18,
}


class FakeNvml:
    """Two GPUs; `fail` maps a function name to the error it raises."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError = FakeError

    def __init__(self, fail: dict[str, int] | None = None, gpus: int = 2) -> None:
        self.fail = fail or {}
        self.gpus = gpus
        self.asked = 0
        self.open = 0
        for name, value in CODES.items():
            setattr(self, name, value)

    def _do(self, name: str, value: Any) -> Any:
        if name in self.fail:
            raise FakeError(self.fail[name])
        return value

    def nvmlInit(self) -> None:
        self._do("nvmlInit", None)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1
        self._do("nvmlShutdown", None)

    def nvmlDeviceGetCount(self) -> int:
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"Old GPU" if handle else "New GPU"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self.asked += 1
        return self._do("utilisation", SimpleNamespace(gpu=87, memory=5))

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return self._do("memory", SimpleNamespace(used=3 << 30, total=8 << 30))

    nvmlClocksEventReasonGpuIdle = 1
    nvmlClocksEventReasonSwPowerCap = 4
    nvmlClocksEventReasonSwThermalSlowdown = 32
    nvmlClocksEventReasonHwThermalSlowdown = 64

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        return int(self._do("clocks", 1 if handle else 4 + 32 + 64))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._do("power", 123_400)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return self._do("heat", 61)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def monitor(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml, clock: Clock) -> GpuMonitor:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return GpuMonitor(clock)


def test_all_values_of_all_gpus_are_read_in_plain_units(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    gpus = monitor(monkeypatch, FakeNvml(), clock)
    first, second = gpus.sample()
    assert (first.index, first.name, second.index, second.name) == (0, "New GPU", 1, "Old GPU")
    assert (first.utilisation, first.memory_used, first.memory_total) == (0.87, 3 << 30, 8 << 30)
    assert (first.power_w, first.temperature_c) == (123.4, 61.0)
    assert gpus.note == ""


def test_the_driver_is_asked_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    nvml = FakeNvml(gpus=1)
    gpus = monitor(monkeypatch, nvml, clock)
    for _ in range(10):
        gpus.sample()
        clock.now += 0.25
    assert nvml.asked == 3


def test_a_value_that_the_driver_does_not_support_is_none_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    (gpu,) = monitor(monkeypatch, FakeNvml({"utilisation": 3, "memory": 4}, gpus=1), clock).sample()
    assert (gpu.utilisation, gpu.memory_used, gpu.memory_total) == (None, None, None)
    assert (gpu.power_w, gpu.temperature_c) == (123.4, 61.0)


def test_a_lost_gpu_is_noted_and_not_asked_again(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    nvml = FakeNvml(gpus=1)
    gpus = monitor(monkeypatch, nvml, clock)
    gpus.sample()
    nvml.fail["memory"] = 15
    clock.now += 1
    (gpu,) = gpus.sample()
    assert gpu.power_w is None
    assert gpus.note == "GPU 0 (New GPU) is lost; the driver no longer reaches it"
    clock.now += 1
    assert gpus.sample() == ()


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (12, "no NVIDIA driver (NVML library not found)"),
        (9, "the NVIDIA driver is not loaded"),
        (18, "differ in version"),
        (4, "no permission"),
        (999, "NVML does not work: error 999"),
    ],
)
def test_a_failing_start_says_why_in_one_line(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, code: int, note: str
) -> None:
    gpus = monitor(monkeypatch, FakeNvml({"nvmlInit": code}), clock)
    assert note in gpus.note
    assert "\n" not in gpus.note
    assert gpus.sample() == ()
    gpus.close()


def test_a_driver_without_gpus_says_so(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    assert monitor(monkeypatch, FakeNvml(gpus=0), clock).note == "an NVIDIA driver, but no GPU"


def test_close_lets_go_once_and_survives_an_error(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    nvml = FakeNvml({"nvmlShutdown": 999})
    gpus = monitor(monkeypatch, nvml, clock)
    gpus.close()
    gpus.close()
    assert nvml.open == 0
    assert gpus.sample() == ()


def test_the_real_library_is_either_there_or_named_as_missing() -> None:
    gpus = GpuMonitor()
    try:
        assert bool(gpus.sample()) != bool(gpus.note)
        if not Path("/proc/driver/nvidia").exists():
            assert gpus.note == "no NVIDIA driver (NVML library not found)"
    finally:
        gpus.close()


def test_the_host_sample_holds_shares_and_bytes() -> None:
    host = HostMonitor()
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        pass
    sample = host.sample()
    assert sample.cpu is not None
    assert 0 < sample.cpu <= 1
    assert 0 < sample.memory < 1
    assert 0 < sample.memory_used < sample.memory_total
    if sys.platform == "linux":
        assert sample.steal is not None
        assert 0 <= sample.steal <= 1
    host.close()


def test_a_host_asked_twice_at_once_does_not_divide_by_zero() -> None:
    host = HostMonitor()
    for _ in range(20):
        host.sample()


def test_cores_in_use_and_memory_of_processes_are_summed() -> None:
    code = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        watch = ProcessMonitor([busy.pid])
        assert watch.sample().cpu is None
        sample, give_up_at = watch.sample(), time.monotonic() + 15
        while (sample.cpu or 0.0) <= 0.1 and time.monotonic() < give_up_at:
            time.sleep(0.1)
            sample = watch.sample()
        assert 0.1 < (sample.cpu or 0.0) < 1.3
        assert sample.rss > 1 << 20
        assert sample.alive == 1
        watch.set_pids([busy.pid, os.getpid()])
        assert watch.sample().alive == 2
    finally:
        busy.kill()
        busy.wait()
    assert watch.sample().alive == 1
    watch.set_pids([])
    assert watch.sample().alive == 0
    watch.close()


def test_processes_that_vanish_or_never_were_are_left_out() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    watch = ProcessMonitor([gone.pid, 2**22 + 7, 0, -1])
    gone.wait()
    sample = watch.sample()
    assert (sample.alive, sample.rss, sample.cpu) == (0, 0, None)
    watch.set_pids([gone.pid])
    assert watch.sample().alive == 0


def test_the_machine_is_described_without_names_and_paths() -> None:
    facts = describe_machine()
    text = json.dumps(facts)
    assert facts["python"] == f"{platform.python_implementation()} {platform.python_version()}"
    assert isinstance(facts["memory_bytes"], int)
    assert facts["cpu_model"]
    assert facts["kernel"]
    for private in (platform.node(), getpass.getuser(), str(Path.home()), os.getcwd()):
        assert len(private) < 3 or private not in text
