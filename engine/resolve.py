"""From what a configuration leaves open to numbers that fit, read from the model's file and this machine's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine import machine
from engine.config import EngineConfig
from engine.errors import ConfigError, ModelError
from engine.fit import SMALLEST_CTX, Demand, Fit, Room, choose, size
from engine.model_header import ModelHeader, check_part, read_model


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was found and decided. `model.about` and the names of GPUs are text from outside."""

    model: ModelHeader
    room: Room
    fit: Fit

    @property
    def memory(self) -> str:
        """`estimated 320 MiB (weights ...), 15.0 GiB of 16.0 GiB available`."""
        room, fit = self.room, self.fit
        text = f"{fit.host} of {size(room.ram_available)} available"
        if fit.gpu is None:
            return text
        free = size(sum(gpu.free for gpu in room.gpus))
        return f"on the GPU {fit.gpu} of {free} free; on the host {text}"

    @property
    def device(self) -> str:
        """Where layers are computed, and why on the CPU if so."""
        whole = len(self.model.blocks) + 1
        if self.fit.gpu_layers:
            names = ", ".join(gpu.name for gpu in self.room.gpus)
            return f"{names}: {self.fit.gpu_layers} of {whole} layers (the output counts as one)"
        return f"CPU ({self.room.no_gpu or 'not one layer fits on the GPU'})"


def resolve(config: EngineConfig) -> tuple[EngineConfig, FitReport]:
    """`config` with ctx, slots and gpu_layers as numbers, and how they came about. Blocks for 0.1 s or a little more.

    Raises:
        ConfigError: a setting is wrong, model, adapter or projector cannot be used, or there is too little memory.
    """
    replace(config, ctx=config.ctx or SMALLEST_CTX, slots=config.slots or 1).validate()
    field = "model"
    try:
        model = read_model(config.model)
        field = "lora"
        extra = sum(check_part(path, "adapter", model) for _name, path in config.lora)
        field = "mmproj"
        extra += check_part(config.mmproj, "mmproj", model) if config.mmproj is not None else 0
    except ModelError as error:
        what, _, fix = str(error).rpartition("; ")
        raise ConfigError(field, what, fix) from error
    room = machine.look(gpus=config.gpu_layers != 0)
    asked = Demand(
        config.ctx, config.slots, config.gpu_layers, config.prefill_chunk, extra, config.response_cache_bytes
    )
    fit = choose(model, asked, room)
    return replace(config, ctx=fit.ctx, slots=fit.slots, gpu_layers=fit.gpu_layers), FitReport(model, room, fit)
