"""doctor: each check by itself, and the command as a whole."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console import checks
from console.checks import Llama, Status
from console.cli import main
from console.commands.doctor import _engine
from console.exits import Exit
from engine.config import DEMO_MODEL
from scenarios.runner.preflight import Load, NoiseFloor


def test_the_noise_floor_is_told_with_the_gates_that_it_allows() -> None:
    def floor(stamp_p99_s: float) -> NoiseFloor:
        return NoiseFloor(Load(64, 0.25, 1.0), 9000, 8e-5, stamp_p99_s, 2e-4, 8e-4, 1e-4, 2e-4)

    check = checks.noise(floor(0.0012))
    assert check.status is Status.OK
    assert check.found.endswith("TTFT gates down to about 20 ms")
    noisy = checks.noise(floor(0.03))
    assert noisy.status is Status.WARN
    assert "300 ms" in noisy.found
    assert noisy.fix


def test_a_build_that_crashes_is_a_failed_line_and_not_a_dead_doctor() -> None:
    build = checks.ask_llama("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert "died by signal 11" in build.problem
    (check,) = checks.llama(build)
    assert check.status is Status.FAIL
    assert "make setup" in check.fix


def test_a_build_that_hangs_or_fails_is_explained() -> None:
    assert "did not load in 0.5 s" in checks.ask_llama("import time; time.sleep(20)", timeout_s=0.5).problem
    assert "no engine here" in checks.ask_llama("raise SystemExit('no engine here')").problem


def test_the_build_here_names_its_devices() -> None:
    build = checks.ask_llama()
    assert build.problem == ""
    assert build.version
    assert build.devices


@pytest.mark.parametrize(
    ("build", "gpus", "status"),
    [(Llama(), 0, Status.OK), (Llama(), 1, Status.WARN), (Llama(gpu=True), 1, Status.OK)],
)
def test_a_gpu_that_the_build_cannot_use_is_a_warning(build: Llama, gpus: int, status: Status) -> None:
    check = checks.gpu(build, "no driver", gpus)
    assert check.status is status
    assert bool(check.fix) is (status is Status.WARN)


def test_late_timers_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Clock:
        get_clock_info = staticmethod(time.get_clock_info)
        perf_counter = staticmethod(lambda: now_s)

    def late_by(late_s: float) -> Callable[[float], None]:
        def sleep(span_s: float) -> None:
            nonlocal now_s
            now_s += span_s + late_s

        return sleep

    monkeypatch.setattr(checks, "time", Clock)
    assert checks.clock(late_by(0.001)).status is Status.OK
    assert checks.clock(late_by(0.006)).status is Status.WARN


def test_the_model_is_named_with_what_it_takes_and_how_much_of_it_fits() -> None:
    check = checks.memory(DEMO_MODEL)
    assert check.status is Status.OK
    assert "2.41 M parameters, Q8_0" in check.found
    assert re.search(r"\d+ slots x 1024 tokens fit: \d+ MiB \(weights \d+ MiB, KV \d+ MiB", check.found)


def test_a_damaged_model_is_a_failure_that_says_what_to_do(tmp_path: Path) -> None:
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes(DEMO_MODEL.read_bytes()[:100_000])
    check = checks.memory(damaged)
    assert check.status is Status.FAIL
    assert "need" in check.found
    assert "fetch it again" in check.fix


def test_a_runs_folder_that_is_not_there_yet_is_fine_and_not_made(tmp_path: Path) -> None:
    found = list(checks.runs_folder(tmp_path / "a" / "b"))
    assert found[0].status is Status.OK
    assert not (tmp_path / "a").exists()


def test_every_warning_and_failure_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for check in (checks.cores(), checks.open_files(), checks.port(), *checks.runs_folder(tmp_path)):
        assert check.status is Status.OK or check.fix


def test_doctor_prints_a_word_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quick"]) in (Exit.GO, Exit.TARGET)
    text = capsys.readouterr().out
    for name in ("python", "llama.cpp", "gpu", "clock", "noise", "cores", "disk"):
        assert name in text
    assert "✓ ok" in text


def test_doctor_as_json_fails_when_a_check_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "ask_llama", lambda: Llama(problem="it crashed"))
    assert main(["doctor", "--json"]) == Exit.TARGET
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {"name", "status", "found", "fix"} == document["checks"][0].keys()


async def test_the_engine_is_asked_without_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    check = await _engine(DEMO_MODEL)
    assert check.status is Status.OK, check.found
