"""The decisions of the set-up, pure: which backend, what has to be done, how far a build is. Standard library only."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

WITHOUT_IMAGES = ("-DLLAVA_BUILD=OFF", "-DLLAMA_OPENSSL=OFF")
WITH_IMAGES = ("-DLLAVA_BUILD=ON", "-DMTMD_VIDEO=OFF", "-DLLAMA_OPENSSL=OFF")
CPU_SECONDS = 180.0  # CPU time that one CPU build of libllama takes (measured: 173 s)
_PIN = re.compile(r"[\"']llama-cpp-python==([^\"'\s;]+)")
_STEP = re.compile(r"\s*\[(\d{1,5})/(\d{1,5})\] ")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Probe:
    """Cheap facts about this machine that the choice of a backend rests on; None: not found."""

    wanted: str  # SEATRIAL_ENGINE
    nvcc: str | None
    nvidia_smi: str | None
    kernel_driver: bool  # /proc/driver/nvidia/version exists

    def text(self) -> str:
        """One line that is the same as long as nothing changed."""
        return f"wanted={self.wanted} nvcc={self.nvcc} smi={self.nvidia_smi} driver={int(self.kernel_driver)}"


@dataclass(frozen=True)
class Backend:
    """What llama.cpp is built for, and why in a few words."""

    name: str  # "cpu" or "cuda"
    why: str
    native: bool = False  # a GPU is there, so that its own architecture can be asked for
    nvcc: str = ""

    def __str__(self) -> str:
        return f"{'CUDA' if self.name == 'cuda' else 'CPU'}: {self.why}"


def choose_backend(probe: Probe, driver_works: bool) -> Backend:
    """CUDA only with a working NVIDIA driver and nvcc, unless SEATRIAL_ENGINE says which.

    Raises ValueError, for the user to read, when it says what cannot be.
    """
    if probe.wanted not in ("", "cpu", "cuda"):
        raise ValueError(f"SEATRIAL_ENGINE is {probe.wanted!r}; it must be cpu, cuda or unset")
    if probe.wanted == "cpu":
        return Backend("cpu", "SEATRIAL_ENGINE=cpu")
    if probe.wanted == "cuda":
        if not probe.nvcc:
            raise ValueError("SEATRIAL_ENGINE=cuda needs nvcc: install the CUDA toolkit, or unset SEATRIAL_ENGINE")
        return Backend("cuda", "SEATRIAL_ENGINE=cuda", driver_works, probe.nvcc)
    if not driver_works:
        return Backend("cpu", "no NVIDIA driver found")
    if not probe.nvcc:
        return Backend("cpu", "an NVIDIA driver but no nvcc; to use the GPU install the CUDA toolkit, run this again")
    return Backend("cuda", "NVIDIA driver and nvcc found", True, probe.nvcc)


def choose_images(wanted: str, stamp: Stamp) -> str:
    """Whether libmtmd is built as well, "1" or "": as SEATRIAL_IMAGES says, else as it was built before.

    Raises ValueError, for the user to read, when it says neither 0 nor 1.
    """
    if wanted not in ("", "0", "1"):
        raise ValueError(f"SEATRIAL_IMAGES is {wanted!r}; it must be 1 (build what images need, too), 0 or unset")
    before = stamp.built or stamp.installed
    return ("1" if wanted == "1" else "") if wanted or before is None else before.images


def cmake_args(own: str, backend: Backend, include: str, images: str = "") -> str:
    """The user's own CMAKE_ARGS, then ours; what the user set about CUDA architectures or its compiler stays."""
    parts = [*(WITH_IMAGES if images else WITHOUT_IMAGES), f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={include}"]
    if backend.name == "cuda":
        parts.append("-DGGML_CUDA=on")
        if backend.native and "CMAKE_CUDA_ARCHITECTURES" not in own:
            parts.append("-DCMAKE_CUDA_ARCHITECTURES=native")
        if backend.nvcc and "CMAKE_CUDA_COMPILER" not in own:
            parts.append(f"-DCMAKE_CUDA_COMPILER={backend.nvcc}")
    return " ".join([*([own] if own else []), *(shlex.quote(part) for part in parts)])


def llama_version(pyproject: str) -> str:
    """The pinned llama-cpp-python version out of the text of pyproject.toml."""
    found = _PIN.search(pyproject)
    if found is None:
        raise ValueError("pyproject.toml pins no llama-cpp-python version")
    return found.group(1)


def expected(backend: Backend, cores: int) -> str:
    """How long the build takes, in words."""
    if backend.name == "cuda":
        return "often 5 to 20 minutes with CUDA"
    minutes = max(1, round((10 + CPU_SECONDS / max(cores, 1)) / 60))
    return f"about {minutes} minute{'s' if minutes > 1 else ''} on {cores} core{'s' if cores != 1 else ''}"


@dataclass(frozen=True)
class Key:
    """Everything that a finished set-up depends on."""

    python: str  # ABI tag, as "cpython-311"
    venv: str
    llama: str
    backend: str
    cmake_file: str  # hash
    cmake_args: str  # the user's own
    pyproject: str  # hash
    extras: tuple[str, ...]
    images: str = ""  # "1": with libmtmd


@dataclass(frozen=True)
class Stamp:
    """What is done: the key of the llama.cpp build, the key of the project's install, the probe they were chosen by."""

    built: Key | None = None
    installed: Key | None = None
    probe: str = ""

    def dumps(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)


def load_stamp(text: str) -> Stamp:
    """A stamp from JSON; anything that is not one is an empty stamp: then everything is done again."""
    try:
        data = json.loads(text)
        return Stamp(_key(data["built"]), _key(data["installed"]), str(data["probe"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Stamp()


def _key(data: Mapping[str, object] | None) -> Key | None:
    if data is None:
        return None
    fields = {name: str(value) for name, value in data.items() if name != "extras"}
    extras = data["extras"]
    if not isinstance(extras, list):
        raise TypeError("extras must be a list")
    return Key(extras=tuple(str(extra) for extra in extras), **fields)


@dataclass(frozen=True)
class Work:
    """What has to be done. `why` names what changed, for the build."""

    venv: bool
    build: bool
    install: bool
    extras: tuple[str, ...]
    why: str = ""

    def __bool__(self) -> bool:
        return self.venv or self.build or self.install


_BUILD_FIELDS = {
    "llama": "llama-cpp-python's version changed",
    "backend": "the backend changed",
    "cmake_file": "engine/llama_only.cmake changed",
    "cmake_args": "CMAKE_ARGS changed",
    "images": "SEATRIAL_IMAGES changed",
}


def plan_work(stamp: Stamp, key: Key, has_python: bool, has_llama: bool, has_project: bool) -> Work:
    """What is left to do for `key`, given what the stamp says and what really stands in the environment.

    Extras that were installed before stay asked for, so that `make run` after `make test` has nothing to do.
    """
    before = stamp.installed
    extras = tuple(sorted({*key.extras, *(before.extras if before else ())}))
    base = stamp.built or before
    if not has_python or base is None or (base.python, base.venv) != (key.python, key.venv):
        changed = base is not None and has_python
        return Work(venv=True, build=True, install=True, extras=extras, why="Python changed" if changed else "")
    built = stamp.built or key
    why = next((text for name, text in _BUILD_FIELDS.items() if getattr(built, name) != getattr(key, name)), "")
    build = stamp.built is None or not has_llama or bool(why)
    same = before is not None and before.pyproject == key.pyproject and set(key.extras) <= set(before.extras)
    return Work(venv=False, build=build, install=build or not same or not has_project, extras=extras, why=why)


class Progress:
    """How far ninja is, out of the lines of `pip install -v`. On a terminal every step is shown, else every tenth."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal
        self.done = 0
        self.total = 0
        self._tenth = -1

    def feed(self, line: str) -> str | None:
        """The text to show after this line, or None when nothing new is to be shown."""
        found = _STEP.match(line)
        if found is None:
            return None
        done, total = int(found.group(1)), int(found.group(2))
        if total < max(self.total, 2) or done <= self.done or done > total:
            return None
        self.done, self.total = done, total
        tenth = 10 * done // total
        if not self.terminal and tenth == self._tenth:
            return None
        self._tenth = tenth
        return f"{100 * done // total:3d} % ({done}/{total})"


def printable(line: str, limit: int = 400) -> str:
    """A line of a build log made safe for the terminal."""
    text = _CONTROL.sub("", line.rstrip())
    return text if len(text) <= limit else text[:limit] + " …"


def advice(tail: str) -> str:
    """What to do about a failure, out of the last lines of the log."""
    low = tail.lower()
    if "no space left" in low:
        return "The disk is full: free about 1 GB (TMPDIR moves the build elsewhere)."
    if any(mark in low for mark in ("killed signal", "fatal error: killed", "cannot allocate memory", "out of memory")):
        return "Memory ran out: set CMAKE_BUILD_PARALLEL_LEVEL=1 to compile one file at a time."
    if any(mark in low for mark in ("no matching distribution", "connectionerror", "timed out", "newconnectionerror",
                                    "temporary failure in name resolution", "connection refused", "sslerror",
                                    "certificate")):  # fmt: skip
        return "The package index was not reached: check the network, or pip's own settings (pip config list)."
    if "cuda" in low or "nvcc" in low:
        return "The CUDA build failed: SEATRIAL_ENGINE=cpu builds without it."
    return "The cause should stand in the lines above; SEATRIAL_ENGINE=cpu is the simplest build."
