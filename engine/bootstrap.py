"""Sets the project up: checks the tools, makes the environment, builds llama.cpp, installs the project. Run by `make`.

    python3 engine/bootstrap.py [--extras test] [--venv .venv]

Standard library only, for any Python that is around. It can be interrupted and run again: a step counts as done only
when the stamp (.setup/stamp.json) says so. Exit codes: 0 done, 1 a step failed, 2 something is missing,
130 interrupted.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  an older Python must meet this line, not an ImportError
    sys.stderr.write(
        "Seatrial needs Python 3.11 or newer, this is {}.{}: get it from your package manager, from python.org, "
        "or with `uv python install 3.12`.\n".format(*sys.version_info)
    )
    raise SystemExit(2)

import argparse
import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    # Not engine/: the names of its files must not stand before the standard library's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from engine.bootstrap_plan import (
    Backend,
    Key,
    Probe,
    Progress,
    Stamp,
    Work,
    choose_backend,
    choose_images,
    cmake_args,
    expected,
    llama_version,
    load_stamp,
    plan_work,
)
from engine.bootstrap_process import LOG, ROOT, SETUP, SetupFailed, duration, locked, logged, quiet, say

CMAKE_FILE = ROOT / "engine" / "llama_only.cmake"
STAMP = SETUP / "stamp.json"
COMPILERS = (("CXX", ("c++", "g++", "clang++"), "C++"), ("CC", ("cc", "gcc", "clang"), "C"))
GET_COMPILER = (
    "Debian/Ubuntu: apt install build-essential; Fedora: dnf install gcc gcc-c++; macOS: xcode-select --install"
)
NO_VENV = "Python's venv module is incomplete here. Debian/Ubuntu: sudo apt install python3-venv"
CHECK = """
import ctypes, llama_cpp
from llama_cpp._ggml import libggml
libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
libggml.ggml_backend_dev_get.restype = ctypes.c_void_p
libggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
libggml.ggml_backend_dev_name.restype = ctypes.c_char_p
libggml.ggml_backend_dev_name.argtypes = [ctypes.c_void_p]
ids = range(libggml.ggml_backend_dev_count())
print("devices:", ", ".join(libggml.ggml_backend_dev_name(libggml.ggml_backend_dev_get(i)).decode() for i in ids))
"""


def main(argv: list[str] | None = None) -> int:
    """Do what is left to do; the exit code."""
    parser = argparse.ArgumentParser(prog="bootstrap", description="Set Seatrial up; run it again at any time.")
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, comma-separated, for example: test")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="the environment (.venv)")
    options = parser.parse_args(argv)
    extras = tuple(sorted({extra.strip() for extra in options.extras.split(",") if extra.strip()}))
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return Setup(ROOT / options.venv, extras).run()
    except SetupFailed as failed:
        say(str(failed))
        return failed.code
    except OSError as error:
        say(f"The set-up could not go on: {error}. Mend that and run the same command again.")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; run the same command again to go on.")
        return 130


class Setup:
    """One run of the set-up for one environment."""

    def __init__(self, venv: Path, extras: tuple[str, ...]) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        self.extras = extras
        self.uv = shutil.which("uv")
        self.own_args = os.environ.get("CMAKE_ARGS", "").strip()
        self.images = ""
        self.pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        self.llama = llama_version(self.pyproject)
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(self) -> int:
        """Nothing when the stamp says that all is done, else what is left of it."""
        probe = look()
        stamp = read_stamp()
        try:
            self.images = choose_images(os.environ.get("SEATRIAL_IMAGES", "").strip(), stamp)
        except ValueError as error:
            raise SetupFailed(str(error), 2) from None
        if stamp.built and stamp.probe == probe.text() and not self.plan(stamp, stamp.built.backend):
            say(f"Already set up: {self.venv.name}")
            return 0
        try:
            backend = choose_backend(probe, driver_works(probe))
        except ValueError as error:
            raise SetupFailed(str(error), 2) from None
        started = time.monotonic()
        SETUP.mkdir(exist_ok=True)
        with locked():
            stamp = read_stamp()
            work = self.plan(stamp, backend.name)
            self.check_tools(work)
            LOG.write_text("", encoding="utf-8")
            devices = self.do(work, stamp, backend, probe)
        took = duration(time.monotonic() - started)
        what = f"llama.cpp {self.llama} for {backend.name.upper()} (devices: {devices or 'unknown'})"
        say(f"Ready in {took}: {what}, Python {sys.version.split()[0]}, in {self.venv.name}")
        if backend.name == "cuda" and "CUDA" not in devices:
            say("Note: llama.cpp was built for CUDA but lists no CUDA device now; it will run on the CPU.")
        return 0

    def key(self, backend: str, extras: tuple[str, ...]) -> Key:
        """What a finished set-up of this kind depends on."""
        return Key(
            python=sys.implementation.cache_tag,
            venv=str(self.venv),
            llama=self.llama,
            backend=backend,
            cmake_file=digest(CMAKE_FILE.read_bytes()),
            cmake_args=self.own_args,
            pyproject=digest(self.pyproject.encode()),
            extras=extras,
            images=self.images,
        )

    def plan(self, stamp: Stamp, backend: str) -> Work:
        """What is left to do."""
        has_llama, has_project = self.installed(f"llama_cpp_python-{self.llama}"), self.installed("seatrial-*")
        return plan_work(stamp, self.key(backend, self.extras), self.python.exists(), has_llama, has_project)

    def installed(self, name: str) -> bool:
        """Whether a distribution stands whole in the environment (pip writes RECORD last)."""
        return any(self.venv.glob(f"lib/python3.*/site-packages/{name}.dist-info/RECORD"))

    def check_tools(self, work: Work) -> None:
        """Raise SetupFailed, code 2, naming the first tool that is missing and how to get it."""
        if work.build:
            for variable, names, what in COMPILERS:
                own = os.environ.get(variable, "").split()
                if not own and not any(shutil.which(name) for name in names):
                    tried = f"{', '.join(names[:-1])} or {names[-1]}"
                    raise SetupFailed(f"No {what} compiler ({tried}) was found. {GET_COMPILER}", 2)
        if work.venv and not self.uv and importlib.util.find_spec("ensurepip") is None:
            raise SetupFailed(NO_VENV, 2)
        if self.venv.exists() and not (self.venv / "pyvenv.cfg").exists() and any(self.venv.iterdir()):
            raise SetupFailed(f"{self.venv} is there but is no virtual environment: name another one with --venv", 2)

    def do(self, work: Work, stamp: Stamp, backend: Backend, probe: Probe) -> str:
        """The steps; the stamp is withdrawn before a step and written after it. Returns the devices that ggml lists."""
        key = self.key(backend.name, work.extras)
        if work.venv:
            stamp = Stamp()
            write_stamp(stamp)
            self.make_venv()
        if work.build:
            stamp = replace(stamp, built=None)
            write_stamp(stamp)
            self.build(backend, work.why)
        if work.install:
            stamp = replace(stamp, built=key, installed=None)
            write_stamp(stamp)
            self.install(work.extras)
        try:
            devices = self.verify()
        except SetupFailed:
            write_stamp(Stamp())
            raise
        write_stamp(Stamp(built=key, installed=key, probe=probe.text()))
        return devices

    def make_venv(self) -> None:
        """Keep an environment of this Python that works and was made at this path; else make it anew."""
        test = "import pip, sys; sys.exit(sys.implementation.cache_tag != sys.argv[1])"
        if self.in_place() and quiet(str(self.python), "-c", test, sys.implementation.cache_tag):
            return
        if (self.venv / "pyvenv.cfg").exists():
            shutil.rmtree(self.venv)
        base = str(getattr(sys, "_base_executable", sys.executable))  # this may be the environment's own Python
        make = [self.uv, "venv", "--seed", "--python", base] if self.uv else [base, "-m", "venv"]
        say(f"Making {self.venv.name} with {'uv' if self.uv else 'venv'}")
        logged([*make, str(self.venv)], "Making the environment")

    def in_place(self) -> bool:
        """Whether the environment's scripts start its own Python: in a moved or copied tree they start the old one."""
        try:
            return str(self.venv / "bin") in (self.venv / "bin" / "pip").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False

    def build(self, backend: Backend, why: str) -> None:
        """llama-cpp-python from source, only the part that is used. Its dependencies come with the project."""
        say(f"Building llama.cpp for {backend}" + (f" ({why})" if why else ""))
        took = expected(backend, self.cores) + (", more with images," if self.images else "")
        say(f"Done once; {took} after fetching 76 MB. Log: {LOG.relative_to(ROOT)}")
        env = dict(os.environ, CMAKE_ARGS=cmake_args(self.own_args, backend, str(CMAKE_FILE), self.images))
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        progress = Progress(terminal)
        started = time.monotonic()

        def show(line: str) -> None:
            text = progress.feed(line)
            if text is None:
                return
            text = f"  llama.cpp {text}, {duration(time.monotonic() - started)}"
            sys.stderr.write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
            sys.stderr.flush()

        command = [str(self.python), "-m", "pip", "install", "-v", "--no-cache-dir", "--no-binary", "llama-cpp-python",
                   "--force-reinstall", "--no-deps", f"llama-cpp-python=={self.llama}"]  # fmt: skip
        try:
            logged(command, "Building llama.cpp", env, show)
        finally:
            if terminal and progress.done:
                sys.stderr.write("\n")

    def install(self, extras: tuple[str, ...]) -> None:
        """The project, editable, with its dependencies."""
        target = "." + (f"[{','.join(extras)}]" if extras else "")
        say(f"Installing the project{' with ' + ', '.join(extras) if extras else ''}")
        python = str(self.python)
        pip = [self.uv, "pip", "install", "--python", python] if self.uv else [python, "-m", "pip", "install"]
        logged([*pip, "-e", target], "Installing the project")

    def verify(self) -> str:
        """Import llama_cpp in the environment and ask ggml for its devices."""
        check = CHECK + ("import llama_cpp.mtmd_cpp\n" if self.images else "")
        lines = logged([str(self.python), "-c", check], "Loading llama.cpp")
        return next((line.removeprefix("devices: ") for line in reversed(lines) if line.startswith("devices: ")), "")


def look() -> Probe:
    """The cheap facts about this machine."""
    env = os.environ
    places = [f"{home}/bin/nvcc" for home in (env.get("CUDA_HOME"), env.get("CUDA_PATH"), "/usr/local/cuda") if home]
    return Probe(
        wanted=env.get("SEATRIAL_ENGINE", "").strip().lower(),
        nvcc=shutil.which("nvcc") or next((place for place in places if os.access(place, os.X_OK)), None),
        nvidia_smi=shutil.which("nvidia-smi"),
        kernel_driver=Path("/proc/driver/nvidia/version").exists(),
    )


def driver_works(probe: Probe) -> bool:
    """Whether a GPU answers and its library loads; slow, so only asked for when there is something to do."""
    if not probe.kernel_driver and not (probe.nvidia_smi and quiet(probe.nvidia_smi, "-L", needs="GPU")):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def read_stamp() -> Stamp:
    """What is done; nothing when there is no stamp."""
    try:
        return load_stamp(STAMP.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return Stamp()


def write_stamp(stamp: Stamp) -> None:
    """Write the stamp whole or not at all."""
    new = STAMP.with_suffix(".new")
    new.write_text(stamp.dumps(), encoding="utf-8")
    new.replace(STAMP)


def digest(data: bytes) -> str:
    """A short hash."""
    return hashlib.sha256(data).hexdigest()[:16]


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
