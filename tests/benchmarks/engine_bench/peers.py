"""The servers under measurement: how each is found, started alike, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

from engine.config import EngineConfig
from tests.benchmarks.engine_bench import gguf_file
from tests.benchmarks.engine_bench.client import Address
from tests.benchmarks.engine_bench.errors import ServerFailed, Unmeasured
from tests.benchmarks.engine_bench.probe import Probe

ROOT = Path(__file__).resolve().parents[3]
_HOST = "127.0.0.1"
_START_S = 180.0
_STOP_S = 10.0
_SOURCE = "unpack the source distribution of llama-cpp-python 0.3.36 (pip download --no-binary :all: --no-deps)"
_BUILD_LLAMA_SERVER = (
    f"{_SOURCE}, then in vendor/llama.cpp: cmake -G Ninja -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF "
    "-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF "
    "-DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF && cmake --build build --target llama-server (with -DGGML_CUDA=on for a GPU)"
)
_MAKE_PEER_PYTHON = (
    "in an environment of its own: pip install 'llama-cpp-python[server]==0.3.36' openai safetensors websockets"
)


class Kind(Enum):
    """Who serves. The value is its name in the table."""

    OURS = "seatrial"
    """The engine alone, with settings that have no option."""
    SERVE = "seatrial serve"
    """As a user starts it: with the process that supervises it."""
    LLAMA_SERVER = "llama-server"
    EXAMPLE = "example server"
    LLAMA_CPP_SERVER = "llama_cpp.server"


_OURS = (Kind.OURS, Kind.SERVE)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every server gets alike. `ctx` is tokens of each slot."""

    model: Path
    ctx: int
    slots: int
    threads: int
    gpu_layers: int = 0

    def __str__(self) -> str:
        where = f", {self.gpu_layers} layers on the GPU" if self.gpu_layers else ""
        return f"{self.model.stem}, {self.slots} slots of {self.ctx} tokens, {self.threads} threads{where}"


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the peers are; None: not here."""

    llama_server: Path | None = None
    peer_python: Path | None = None
    example_server: Path | None = None
    llama_server_args: tuple[str, ...] = ()
    """Further arguments of llama-server; without any its KV cache is split among the slots, its default with -np."""

    def require(self, kind: Kind) -> None:
        """Raise Unmeasured with the option that is missing, when this peer is not here."""
        for needed, path, option, _ in self._needs():
            if kind is needed and (path is None or not path.exists()):
                raise Unmeasured(f"no {kind.value} here ({option} PATH)")

    def hints(self) -> list[str]:
        """How to get each one that is not here."""
        return [
            f"no {kind.value} here: give {option} PATH. To get it: {how}"
            for kind, path, option, how in self._needs()
            if path is None or not path.exists()
        ]

    def _needs(self) -> tuple[tuple[Kind, Path | None, str, str], ...]:
        """(peer, where it is, its option, how to get it)."""
        return (
            (Kind.LLAMA_SERVER, self.llama_server, "--llama-server", _BUILD_LLAMA_SERVER),
            (Kind.EXAMPLE, self.example_server, "--example-server", f"{_SOURCE}; it is examples/server/server.py"),
            (Kind.EXAMPLE, self.peer_python, "--peer-python", _MAKE_PEER_PYTHON),
            (Kind.LLAMA_CPP_SERVER, self.peer_python, "--peer-python", _MAKE_PEER_PYTHON),
        )


def find_peers(
    llama_server: str | None, peer_python: str | None, example_server: str | None, llama_server_args: str = ""
) -> Peers:
    """Each from its option, else from the environment, llama-server also from the PATH."""

    def path(option: str | None, name: str) -> Path | None:
        text = option or os.environ.get(name, "")
        return Path(text).expanduser() if text else None

    on_path = shutil.which("llama-server")
    return Peers(
        path(llama_server, "SEATRIAL_LLAMA_SERVER") or (Path(on_path) if on_path else None),
        path(peer_python, "SEATRIAL_PEER_PYTHON"),
        path(example_server, "SEATRIAL_EXAMPLE_SERVER"),
        tuple(shlex.split(llama_server_args)),
    )


@dataclass(slots=True)
class Server:
    """A server that answers."""

    kind: Kind
    setup: Setup
    address: Address
    process: asyncio.subprocess.Process
    folder: Path
    """Its configuration and log; removed at the end."""
    probe: Probe = field(init=False)

    def __post_init__(self) -> None:
        self.probe = Probe(self.address)

    def processes(self) -> list[psutil.Process]:
        """It and its children."""
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def decode_process(self) -> psutil.Process:
        """Of our engine. Raises ServerFailed when there is none at this moment."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "engine.decode" in process.cmdline():
                    return process
        raise ServerFailed(self.kind.value, "has no decode process", self.log_tail())

    def cpu_s(self) -> float:
        """CPU time of all its processes so far."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        return ""

    def check(self) -> None:
        """Raise ServerFailed if it has died."""
        if self.process.returncode is not None:
            raise ServerFailed(self.kind.value, f"ended with code {self.process.returncode}", self.log_tail())

    async def stop(self) -> None:
        self.probe.close()
        if self.process.returncode is None:
            for sig, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, sig)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self.process.wait()
                        break
        shutil.rmtree(self.folder, ignore_errors=True)


async def start(kind: Kind, setup: Setup, peers: Peers, **ours: Any) -> Server:
    """Start one and wait until it is ready. `ours` are further settings of our engine, by their names in EngineConfig.

    Raises Unmeasured when it is not here, ServerFailed when it does not come up.
    """
    peers.require(kind)
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix="seatrial-bench-"))
    try:
        process = await _spawn(_command(kind, setup, peers, port, folder, ours), kind, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ServerFailed(kind.value, f"cannot be started ({error.strerror})") from error
        raise
    python_peer = kind in (Kind.EXAMPLE, Kind.LLAMA_CPP_SERVER)
    address = Address(_HOST, port, _end_tokens(setup.model) if python_peer else ())
    server = Server(kind, setup, address, process, folder)
    try:
        await _until_ready(server)
    except BaseException:
        await server.stop()
        raise
    return server


async def _spawn(command: list[str], kind: Kind, folder: Path) -> asyncio.subprocess.Process:
    """Raises OSError when the program cannot be run."""
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT if kind in _OURS else folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A Ctrl-C reaches this program first, which then stops the servers in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _command(kind: Kind, setup: Setup, peers: Peers, port: int, folder: Path, ours: dict[str, Any]) -> list[str]:
    cells, threads = setup.ctx * setup.slots, str(setup.threads)
    plain = str(Path(__file__).with_name("plain_weights.py"))
    match kind:
        case Kind.OURS:
            config = EngineConfig(
                model=setup.model,
                host=_HOST,
                port=port,
                ctx=setup.ctx,
                slots=setup.slots,
                threads=setup.threads,
                gpu_layers=setup.gpu_layers,
                **ours,
            )
            (folder / "config.json").write_bytes(config.to_json())
            return [sys.executable, "-m", "engine", "--config-json", str(folder / "config.json")]
        case Kind.SERVE:
            return [
                sys.executable, "-m", "console", "serve", "--model", str(setup.model), "--ctx", str(setup.ctx),
                "--slots", str(setup.slots), "--threads", threads, "--host", _HOST, "--port", str(port),
            ]  # fmt: skip
        case Kind.LLAMA_SERVER:
            return [
                str(peers.llama_server), "-m", str(setup.model), "-c", str(cells), "-np", str(setup.slots),
                "-t", threads, "-ngl", str(setup.gpu_layers), "--no-repack", "--no-webui",
                "--host", _HOST, "--port", str(port), *peers.llama_server_args,
            ]  # fmt: skip
        case Kind.EXAMPLE:
            model = {
                "path": str(setup.model), "alias": "model", "n_ctx": cells, "n_seq_max": setup.slots,
                "threads": setup.threads, "threads_batch": setup.threads, "n_gpu_layers": setup.gpu_layers,
                "max_seq_len": setup.ctx, "max_output_tokens": setup.ctx,
            }  # fmt: skip
            config_file = folder / "config.json"
            config_file.write_text(json.dumps({"server": {"host": _HOST, "port": port}, "model": model}))
            return [str(peers.peer_python), plain, str(peers.example_server), "-C", str(config_file)]
        case Kind.LLAMA_CPP_SERVER:
            # One sequence at a time is all it can; without interrupt_requests=false a second request ends the first.
            return [
                str(peers.peer_python), plain, "-m", "llama_cpp.server", "--model", str(setup.model),
                "--n_ctx", str(setup.ctx), "--n_threads", threads, "--n_threads_batch", threads,
                "--n_gpu_layers", str(setup.gpu_layers), "--interrupt_requests", "false", "--verbose", "false",
                "--host", _HOST, "--port", str(port),
            ]  # fmt: skip


async def _until_ready(server: Server) -> None:
    path = "/health" if server.kind in (*_OURS, Kind.LLAMA_SERVER) else "/v1/models"
    try:
        async with asyncio.timeout(_START_S):
            while (await server.probe.get(path, timeout_s=5.0)).status != 200:
                server.check()
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise ServerFailed(server.kind.value, f"was not ready after {_START_S:g} s", server.log_tail()) from error


def _end_tokens(model: Path) -> tuple[int, ...]:
    """Tokens that would end an answer, by the model's metadata."""
    metadata = gguf_file.metadata_of(model)
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.bos_token_id")
    return tuple(sorted({int(metadata[key]) for key in keys if key in metadata}))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])


def _die_with_parent() -> None:
    """In the child, before exec: also a killed benchmark leaves no server behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
