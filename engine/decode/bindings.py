"""The only file that imports llama_cpp: its functions, its log, its devices."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
import types
from dataclasses import dataclass

from engine.errors import ModelError

# A C++ exception otherwise starts gdb to print a backtrace, and hangs where ptrace is forbidden.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")


def _load_bindings() -> types.ModuleType:
    """llama_cpp's bindings without its package's __init__, which imports 30 modules that nobody needs here (0.1 s)."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ModelError("llama-cpp-python is not installed: run `pip install llama-cpp-python==0.3.36`")
        package = types.ModuleType("llama_cpp")
        package.__path__, package.__spec__ = list(spec.submodule_search_locations), spec
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


L = _load_bindings()
"""llama_cpp.llama_cpp; untyped."""


def load_mtmd() -> types.ModuleType:
    """llama_cpp.mtmd_cpp, untyped. Raises ModelError when llama.cpp was built without it."""
    try:
        return importlib.import_module("llama_cpp.mtmd_cpp")
    except (FileNotFoundError, RuntimeError) as error:
        raise ModelError(
            "a projector needs libmtmd, and llama.cpp was built without it: run `SEATRIAL_IMAGES=1 make setup`, or "
            "leave out --mmproj"
        ) from error


_GPU_TYPES = (1, 2)
_LOG_WARN, _LOG_ERROR, _LOG_CONTINUED = 3, 4, 5  # ggml.h; llama_cpp._logger has them wrong
_last_level = 0
interrupted = threading.Event()
"""A call is being ended on purpose: llama.cpp has nothing to complain of."""


@L.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp has no types
def on_log(level: int, text: bytes, _user: object) -> None:
    global _last_level
    if level != _LOG_CONTINUED:
        _last_level = level
    if _last_level in (_LOG_WARN, _LOG_ERROR) and not interrupted.is_set():
        sys.stderr.write(text.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Device:
    """A compute device that ggml lists."""

    name: str
    description: str
    is_gpu: bool


def devices() -> tuple[Device, ...]:
    """What ggml can compute on. llama_supports_gpu_offload() is no answer: it is also true for RPC builds."""
    lib = L._lib
    lib.ggml_backend_dev_count.restype = ctypes.c_size_t
    lib.ggml_backend_dev_get.argtypes, lib.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    lib.ggml_backend_dev_type.argtypes, lib.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    for function in (lib.ggml_backend_dev_name, lib.ggml_backend_dev_description):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_char_p
    found = []
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        found.append(
            Device(
                name=lib.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=lib.ggml_backend_dev_description(device).decode("utf-8", "replace").strip(),
                is_gpu=lib.ggml_backend_dev_type(device) in _GPU_TYPES,
            )
        )
    return tuple(found)
