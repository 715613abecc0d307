"""Starting the decode process. Imports next to nothing, so that the model loads while the HTTP stack is imported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.config import EngineConfig
from engine.process import cpu_s

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class DecodeChild:
    """A started decode process and this side's end of the socket to it."""

    process: subprocess.Popen[bytes]
    sock: socket.socket

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        """Processor time that it has used; 0 when it is gone."""
        return cpu_s(self.pid)

    def kill(self) -> None:
        """SIGKILL: it also ends a stopped process. The caller waits for it."""
        self.process.kill()


def spawn_decode(config: EngineConfig) -> DecodeChild:
    """Start `python -m engine.decode`; its Hello comes over the socket once the model is loaded. Raises OSError."""
    ours, theirs = socket.socketpair()
    settings = {
        "parent_pid": os.getpid(),
        "fd": theirs.fileno(),
        "model": str(config.model),
        "ctx": config.ctx,
        "slots": config.slots,
        "threads": config.thread_count(),
        "gpu_layers": config.gpu_layers,
        "prefill_chunk": config.prefill_chunk,
        "step_target_s": config.step_target_s,
        "deterministic": config.deterministic,
        "prefix_cache": config.prefix_cache,
        "isolate_keys": config.isolate_keys,
        "lora": [(name, str(path)) for name, path in config.lora],
        "mmproj": "" if config.mmproj is None else str(config.mmproj),
    }
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH", "")) if p)
    environment["GGML_NO_BACKTRACE"] = "1"
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine.decode", msgspec.json.encode(settings).decode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        except OSError:
            ours.close()
            raise
    return DecodeChild(process, ours)
