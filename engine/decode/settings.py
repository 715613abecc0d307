"""What the API process passes on the command line of the decode process."""

from __future__ import annotations

import msgspec


class DecodeSettings(msgspec.Struct, frozen=True):
    """The part of EngineConfig that concerns this process, resolved: see there."""

    parent_pid: int
    fd: int
    """This side's end of the socket."""
    model: str
    ctx: int
    slots: int
    threads: int
    gpu_layers: int
    prefill_chunk: int
    step_target_s: float = 0.05
    deterministic: bool = False
    prefix_cache: bool = True
    isolate_keys: bool = False
    lora: tuple[tuple[str, str], ...] = ()
    mmproj: str = ""
