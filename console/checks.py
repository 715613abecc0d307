"""What doctor looks at: each check measures one thing and says what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.report import words
from scenarios.sanitise import view

if TYPE_CHECKING:
    from scenarios.runner.preflight import NoiseFloor

_SLEEPS = 200
_SLEEP_S = 0.002
_GIB = 1 << 30
_SHARE_OF_BOUND = 0.1  # an instrument that is off by a tenth of what it measures is as coarse as one should be
_NOISY_S = 0.01

# Runs in a process of its own: a broken build of llama.cpp ends that process, not doctor.
_ASK_LLAMA = """
import importlib.metadata, json
from engine.decode.bindings import devices
found = [{"name": d.name, "about": d.description, "gpu": d.is_gpu} for d in devices()]
print("\\n" + json.dumps({"version": importlib.metadata.version("llama-cpp-python"), "devices": found}))
"""


class Status(StrEnum):
    """How a check came out; only FAIL keeps a run from starting."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of doctor: `fix` is empty when all is well."""

    name: str
    status: Status
    found: str
    fix: str = ""


def python() -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - a person may run doctor with any interpreter
        return Check("python", Status.FAIL, version, "Seatrial needs Python 3.11 or newer")
    return Check("python", Status.OK, f"{version} ({sys.executable})")


@dataclass(frozen=True, slots=True)
class Llama:
    """What the llama.cpp build says of itself; `problem` when it cannot even say that."""

    version: str = ""
    devices: tuple[str, ...] = ()
    gpu: bool = False
    problem: str = ""


def ask_llama(ask: str = _ASK_LLAMA, timeout_s: float = 60.0) -> Llama:
    """Load llama.cpp in a process of its own and list its devices."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, timeout=timeout_s, env=env, check=False)
    except subprocess.TimeoutExpired:
        return Llama(problem=f"it did not load in {timeout_s:g} s")
    if done.returncode != 0:
        how = f"died by signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        return Llama(problem=f"loading it {how}: {view(last, 200)}")
    facts = json.loads(done.stdout.splitlines()[-1])
    names = tuple(view(f"{d['name']} ({d['about']})", 100) for d in facts["devices"])
    return Llama(str(facts["version"]), names, any(d["gpu"] for d in facts["devices"]))


def llama(build: Llama) -> Iterator[Check]:
    """The build, and the devices that it can compute on."""
    if build.problem:
        yield Check("llama.cpp", Status.FAIL, build.problem, "run `make setup` again; --target works without it")
        return
    yield Check("llama.cpp", Status.OK, f"llama-cpp-python {build.version}")
    yield Check("devices", Status.OK, ", ".join(build.devices) or "CPU")


def gpu(build: Llama, note: str, gpus: int) -> Check:
    """The driver's GPUs against the build's; `note` says why the driver shows none."""
    if not gpus:
        return Check("gpu", Status.OK, f"none: {view(note, 150) or 'no driver'}; the engine runs on the CPU")
    if not build.gpu:
        fix = "build llama.cpp for it: CMAKE_ARGS=-DGGML_CUDA=on, pip install --no-cache-dir --force-reinstall"
        return Check("gpu", Status.WARN, f"{gpus} by the driver, none in this llama.cpp build", fix)
    return Check("gpu", Status.OK, f"{gpus} by the driver, and llama.cpp sees it")


def memory(model: Path) -> Check:
    """What the model is, what it takes, and how many sequences fit into this machine's memory."""
    from engine.config import EngineConfig
    from engine.errors import ConfigError
    from engine.resolve import resolve

    try:
        config, report = resolve(EngineConfig(model=model, ctx=0, slots=0))
    except ConfigError as error:
        return Check("memory", Status.FAIL, view(error.what, 300), view(error.fix, 200))
    found = view(f"{report.model.about}; {config.slots} slots x {config.ctx} tokens fit: {report.memory}", 500)
    if report.fit.warnings:
        return Check("memory", Status.WARN, found, view("; ".join(report.fit.warnings), 300))
    return Check("memory", Status.OK, found)


def faults(gpus: int) -> Check:
    """How many kinds of faults can be brought about against the engine in here."""
    from scenarios.faults.kinds import KINDS
    from scenarios.faults.possible import Setting, not_possible

    missing = not_possible(Setting(gpus=gpus))
    found = f"{len(KINDS) - len(missing)} of {len(KINDS)} kinds can be brought about against the engine in here"
    return Check("faults", Status.OK, found + ("; `seatrial faults` says what the others need" if missing else ""))


def port() -> Check:
    """A free port on loopback."""
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return Check("port", Status.OK, f"127.0.0.1:{listener.getsockname()[1]} was free")
    except OSError as error:
        return Check("port", Status.FAIL, f"none on 127.0.0.1 ({error.strerror})", "allow this user to listen there")


def clock(sleep: Callable[[float], None] = time.sleep) -> Check:
    """The monotonic clock's resolution, and how late 200 short sleeps wake up."""
    resolution_s = time.get_clock_info("monotonic").resolution
    late_s = []
    for _ in range(_SLEEPS):
        begun = time.perf_counter()
        sleep(_SLEEP_S)
        late_s.append(time.perf_counter() - begun - _SLEEP_S)
    late_s.sort()
    p50, p99 = late_s[_SLEEPS // 2], late_s[_SLEEPS - 2]
    found = (
        f"resolution {resolution_s * 1e9:.0f} ns; a sleep wakes {p50 * 1e3:.2f} ms late (p50), {p99 * 1e3:.2f} ms (p99)"
    )
    if p99 > 0.005 or resolution_s > 0.001:
        return Check("clock", Status.WARN, found, "close other programs; gates near their bound may come out INVALID")
    return Check("clock", Status.OK, found)


def noise(floor: NoiseFloor) -> Check:
    """What the instrument itself is off by on this machine, now, and which gates that leaves room for."""
    error_s = floor.stamp_p99_s + floor.send_p99_s
    found = (
        f"events are stamped {words.seconds(floor.stamp_p50_s)} late (p50), {words.seconds(floor.stamp_p99_s)} (p99), "
        f"requests sent {words.seconds(floor.send_p99_s)} late (p99): "
        f"TTFT gates down to about {words.seconds(float(f'{error_s / _SHARE_OF_BOUND:.1g}'))}"
    )
    if error_s > _NOISY_S:
        return Check("noise", Status.WARN, found, "end other work on this machine; runs near a bound come out INVALID")
    return Check("noise", Status.OK, found)


def cores() -> Check:
    """Usable cores and what is on them."""
    from engine.config import usable_cores

    count, load = usable_cores(), os.getloadavg()[0]
    found = f"{count} usable, load {load:.2f}"
    if count < 2:
        return Check("cores", Status.WARN, found, "engine and load share one core: use --target, or low rates")
    if load > 0.7 * count:
        return Check("cores", Status.WARN, found, "other work is running; wait for it or expect noise")
    return Check("cores", Status.OK, found)


def open_files() -> Check:
    """Each request in flight holds a connection."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1024:
        return Check("open files", Status.WARN, f"at most {soft}", "run `ulimit -n 4096` in this shell first")
    return Check(
        "open files", Status.OK, f"at most {'any' if soft == resource.RLIM_INFINITY else soft} (hard limit {hard})"
    )


def runs_folder(directory: Path) -> Iterator[Check]:
    """Whether runs can be kept, and for how long."""
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        fix = "choose another with --runs-dir or $SEATRIAL_HOME"
        yield Check("runs", Status.FAIL, f"{directory} cannot be written ({error.strerror})", fix)
        return
    yield Check(
        "runs", Status.OK, f"{directory}" + ("" if existing == directory.absolute() else " (made by the first run)")
    )
    free = shutil.disk_usage(existing).free
    found = f"{free / _GIB:.1f} GiB free"
    if free < _GIB // 16:
        yield Check("disk", Status.FAIL, found, "free some space: a run needs tens of megabytes")
    elif free < _GIB:
        yield Check("disk", Status.WARN, found, "remove old runs from the runs directory")
    else:
        yield Check("disk", Status.OK, found)
