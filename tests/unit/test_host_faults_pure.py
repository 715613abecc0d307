"""What the faults of the machine decide, without touching it."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.faults.holder.gpus import choice
from scenarios.faults.holder.host_disk import bound_of
from scenarios.faults.holder.host_gpu_memory import Cuda
from scenarios.faults.holder.host_memory import step_of
from scenarios.faults.holder.memory_left import memory_left
from scenarios.faults.injector import FaultRefused
from scenarios.runner.clock_steps import ClockSteps

MB = 1 << 20


def test_memory_is_taken_step_by_step_until_only_what_is_to_be_left_is_left() -> None:
    available, held = 1000 * MB, 0
    while (step := step_of(available, held, leave=300 * MB, most=10_000 * MB)) > 0:
        assert step <= 16 * MB
        available, held = available - step, held + step
    assert 300 * MB <= available < 301 * MB


def test_never_more_memory_is_taken_than_was_asked_for() -> None:
    held = 0
    while (step := step_of(10_000 * MB, held, leave=300 * MB, most=50 * MB)) > 0:
        held += step
    assert held == 50 * MB


def test_memory_is_given_back_when_less_than_half_is_left_and_not_before() -> None:
    assert step_of(151 * MB, 500 * MB, leave=300 * MB, most=1000 * MB) == 0
    assert step_of(149 * MB, 500 * MB, leave=300 * MB, most=1000 * MB) == -151 * MB
    assert step_of(100 * MB, 20 * MB, leave=300 * MB, most=1000 * MB) == -20 * MB


def test_the_smallest_bound_of_all_control_groups_counts(tmp_path: Path) -> None:
    def group(path: str, **files: object) -> None:
        folder = tmp_path / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(f"{text}\n")

    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    group("a/b", memory__max="max", memory__current=5 * MB)
    group("a", memory__max=30 * MB, memory__current=25 * MB, memory__stat=f"anon 1\ninactive_file {2 * MB}")
    assert memory_left(tmp_path, own) == 7 * MB
    own.write_text("4:cpu,memory:/old\n")
    group("memory/old", memory__limit_in_bytes=9 * MB, memory__usage_in_bytes=8 * MB)
    assert memory_left(tmp_path, own) == 1 * MB
    own.write_text("")
    assert memory_left(tmp_path, own) > 9 * MB


def test_the_file_limit_is_beyond_the_shorter_of_the_journals_files_and_never_above_what_held_before() -> None:
    assert bound_of([900_000, 300_000], 1000, resource.RLIM_INFINITY) == 301_000
    assert bound_of([900_000], 1000, 500_000) == 500_000


def test_the_gpu_is_the_one_that_the_target_uses() -> None:
    assert choice([{7}, {8, 9}], {9}) == 1
    assert choice([{7}], {9}) == 0
    with pytest.raises(FaultRefused, match="none of the 2 GPUs is known to be the target's"):
        choice([{7}, {8}], {9})
    with pytest.raises(FaultRefused, match="no GPU"):
        choice([], {9})


class FakeCuda:
    """A driver with 300 MB."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.free = 300 * MB
        self.given: dict[int, int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *_: 2 if name == self.failing else 0

    def cuMemGetInfo_v2(self, free: object, total: object) -> int:
        free._obj.value, total._obj.value = self.free, 300 * MB  # type: ignore[attr-defined]
        return 0

    def cuMemAlloc_v2(self, address: object, size: ctypes.c_size_t) -> int:
        if size.value > self.free:
            return 2
        address._obj.value = len(self.given) + 1  # type: ignore[attr-defined]
        self.given[len(self.given) + 1] = size.value
        self.free -= size.value
        return 0

    def cuMemFree_v2(self, address: ctypes.c_uint64) -> int:
        self.free += self.given.pop(address.value)
        return 0


def test_gpu_memory_is_taken_and_given_back() -> None:
    driver = FakeCuda()
    cuda = Cuda(driver, b"0000:01:00.0")
    address = cuda.take(200 * MB)
    assert cuda.left() == 100 * MB
    assert cuda.take(200 * MB) == 0
    cuda.give_back(address)
    assert cuda.left() == 300 * MB


def test_a_driver_that_refuses_is_named() -> None:
    with pytest.raises(FaultRefused, match="cuDevicePrimaryCtxRetain \\(error 2\\)"):
        Cuda(FakeCuda("cuDevicePrimaryCtxRetain"), b"0000:01:00.0")


def test_a_jump_of_the_wall_clock_is_told_from_time_that_passes() -> None:
    wall, steady = [1000.0], [50.0]
    steps = ClockSteps(lambda: wall[0], lambda: steady[0])
    for jump_s in (0.0, 0.002, -3600.0, 5.0, 0.0):
        wall[0] += 0.25 + jump_s
        steady[0] += 0.25
        steps.look()
    assert steps.largest_s == pytest.approx(3600.0)


def test_slewing_and_a_reader_that_stands_still_are_no_jump() -> None:
    times = iter(range(10_000))
    steps = ClockSteps(lambda: next(times) * 0.001, lambda: next(times) * 0.001)
    for _ in range(100):
        steps.look()
    assert steps.largest_s == 0.0
