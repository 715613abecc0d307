"""The engine's settings: one frozen value, checked once, handed to child processes as JSON."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from engine.errors import ConfigError

DEMO_MODEL = Path(__file__).resolve().parents[1] / "assets" / "models" / "seatrial-demo.gguf"
"""The model that ships with Seatrial; what is served when no other is named."""

MAX_SEQUENCES = 256
"""llama.cpp's LLAMA_MAX_SEQ."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the engine serves and within which bounds. Sizes in tokens or bytes, times in seconds."""

    model: Path
    """A GGUF file."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs `api_key_file`."""
    port: int = 0
    """TCP port; 0 picks a free one."""
    ctx: int = 1024
    """Context of each sequence, prompt and answer together; 0: what `resolve` finds."""
    slots: int = 16
    """Sequences decoded at once; 0: what `resolve` finds."""
    threads: int = 0
    """CPU threads for llama.cpp; 0 leaves one core to the other processes."""
    gpu_layers: int = -1
    """Layers on the GPU; -1: all when ggml lists a GPU, else none (`resolve` makes it as many as fit)."""
    queue_limit: int = 32
    """Requests that may wait beyond the slots; one more is answered 429."""
    api_key_file: Path | None = None
    """File with one accepted key per line; without it no key is asked for."""
    nice: int = 0
    """Niceness added to both processes."""
    model_name: str = ""
    """Name in /v1/models; empty: the file's stem."""
    prefill_chunk: int = 0
    """Most prompt tokens computed in one call; 0: by the model and its device. `step_target_s` decides how many are."""
    step_target_s: float = 0.05
    """A step that also computes prompts aims to take no longer, so that running streams are not held up."""
    deterministic: bool = False
    """Every llama_decode has the same shape whoever runs: the same text to the bit for any model; slower."""
    prefix_cache: bool = True
    """Prompts that begin alike are computed once and shared, also with earlier requests."""
    isolate_keys: bool = False
    """Prompts and kept answers are shared within an API key only (else timing tells one what another has asked)."""
    lora: tuple[tuple[str, Path], ...] = ()
    """LoRA adapters: (name, GGUF file). A request chooses one by giving its name as the model."""
    mmproj: Path | None = None
    """Projector (GGUF) for images; needs a build with libmtmd."""
    response_cache_bytes: int = 0
    """Whole answers of requests that always give the same one are kept in this much memory; 0: none are."""
    log_requests: bool = False
    """One JSON line for each chat or completion in the log, without its text."""
    log_prompts: bool = False
    """Prompts and answers are in those lines as well, and in the spans of `otel_endpoint`."""
    otel_endpoint: str = ""
    """OTLP/HTTP address for OpenTelemetry spans; empty: none are made. Needs the extra `otel`."""
    write_timeout_s: float = 30.0
    """A client that reads nothing for this long is disconnected."""
    body_limit_bytes: int = 8 * 1024 * 1024
    """A larger request body is answered 413."""
    body_timeout_s: float = 10.0
    """A body not complete after this long is answered 408."""
    header_timeout_s: float = 10.0
    """A connection whose request head is not complete after this long is answered 408 and closed."""
    header_limit_bytes: int = 64 * 1024
    """A larger request head is answered 431."""
    connection_limit: int = 1024
    """Open connections beyond this are closed with 503."""
    max_messages: int = 1024
    """Chat messages in one request."""
    hang_timeout_s: float = 3.0
    """The decode process is killed when nothing was heard from it for this long (longer for models with slow steps)."""
    start_timeout_s: float = 120.0
    """Loading the model may take this long."""
    drain_s: float = 10.0
    """On SIGTERM running requests get this long to finish."""
    max_deaths: int = 5
    """Deaths within `restart_window_s` after which the engine gives up; 0: it never does, as where it is killed on
    purpose."""
    restart_window_s: float = 60.0

    @property
    def name(self) -> str:
        """The model's name on the wire."""
        return self.model_name or self.model.stem

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def thread_count(self) -> int:
        """Threads for llama.cpp."""
        return self.threads or max(1, usable_cores() - 1)

    def validate(self) -> EngineConfig:
        """Raise ConfigError naming the first wrong field and its fix; else return self. Nothing may be left open."""
        try:
            if not self.model.is_file():
                raise ConfigError("model", f"no file at {self.model}", "give the path of a GGUF file")
            with self.model.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise ConfigError("model", f"{self.model} cannot be read ({error.strerror})", "check its mode") from error
        if magic != b"GGUF":
            raise ConfigError("model", f"{self.model} is not a GGUF file", "convert it with llama.cpp's tools first")
        for name, low, high, fix in _BOUNDS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, f"{value} is outside {low} to {high}", fix)
        if not self.loopback and self.api_key_file is None:
            raise ConfigError(
                "host",
                f"{self.host} can be reached from outside and no key is set",
                "set api_key_file, or listen on 127.0.0.1",
            )
        if self.api_key_file is not None:
            read_keys(self.api_key_file)
        return self

    def to_json(self) -> bytes:
        """Every field as JSON; `from_json` reads it back."""
        return msgspec.json.encode(self, enc_hook=str)

    @staticmethod
    def from_json(data: bytes | str) -> EngineConfig:
        """Read `to_json`'s text. Raises ConfigError on an unknown field or a wrong type."""
        try:
            raw = msgspec.json.decode(data)
            unknown = sorted(set(raw) - {field.name for field in fields(EngineConfig)})
            if unknown:
                raise ConfigError(unknown[0], "there is no such setting", "remove it or see engine/config.py")
            return msgspec.convert(raw, EngineConfig, dec_hook=lambda kind, value: kind(value))
        except (msgspec.MsgspecError, TypeError) as error:
            raise ConfigError("config", f"not the engine's configuration ({error})", "write it with to_json") from error


_BOUNDS: tuple[tuple[str, float, float, str], ...] = (
    ("port", 0, 65_535, "use 0 to let the system pick one"),
    ("ctx", 32, 1 << 20, "1024 suits the demo model"),
    ("slots", 1, MAX_SEQUENCES, "llama.cpp holds at most 256 sequences"),
    ("threads", 0, 1024, "use 0 for all cores but one"),
    ("gpu_layers", -1, 10_000, "use -1 to decide by what is there"),
    ("queue_limit", 0, 100_000, "32 is the default"),
    ("nice", -20, 19, "0 changes nothing, 19 yields to everybody"),
    ("prefill_chunk", 0, 4096, "use 0 to decide by the model"),
    ("step_target_s", 0.001, 60, "0.05 s is the default"),
    ("response_cache_bytes", 0, 1 << 40, "0 keeps no answers"),
    ("write_timeout_s", 0.1, 3600, "30 s is the default"),
    ("body_limit_bytes", 1024, 1 << 30, "8 MiB is the default"),
    ("body_timeout_s", 0.1, 3600, "10 s is the default"),
    ("header_timeout_s", 0.1, 3600, "10 s is the default"),
    ("header_limit_bytes", 1024, 1 << 20, "64 KiB is the default"),
    ("connection_limit", 1, 100_000, "1024 is the default"),
    ("max_messages", 1, 100_000, "1024 is the default"),
    ("hang_timeout_s", 0.5, 3600, "3 s is the default"),
    ("start_timeout_s", 1, 86_400, "120 s is the default"),
    ("drain_s", 0, 3600, "10 s is the default"),
    ("max_deaths", 0, 1000, "5 is the default"),
    ("restart_window_s", 1, 86_400, "60 s is the default"),
)


def usable_cores() -> int:
    """Cores this process may run on (affinity counts, where the system has it)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The accepted API keys: one a line, blank lines and lines starting with # skipped."""
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise ConfigError("api_key_file", f"{path} cannot be read ({error.strerror})", "check path and mode") from error
    keys = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not keys:
        raise ConfigError("api_key_file", f"{path} holds no key", "write one key per line")
    return keys
