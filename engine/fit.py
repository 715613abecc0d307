"""Does a model fit, and how much of it at once? Decided from its header and from what memory there is, before loading.

The estimate follows what llama.cpp allots: weights as they are stored, keys and values as f16 for every cell, a buffer
for the widest moment of one batch, and one row of logits for each output. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.errors import ConfigError
from engine.model_header import Block, ModelHeader

SMALLEST_CTX, LARGEST_AUTO_CTX = 32, 8192
PLAIN_ATTENTION_CTX = 8192
"""On a CPU attention keeps all its scores up to this context; beyond it, and on a GPU, it is flash attention.
16 sequences of 512 tokens decode in 12.5 ms of CPU time instead of 20 with flash attention (prompts 10 % slower)."""
_SLOTS = (16, 12, 8, 6, 4, 3, 2, 1)
_SMALLEST_AUTO_CTX = 256
_FEW_SLOTS, _FEW_TOKENS = 4, 2048
_CELLS = 256
"""llama.cpp rounds each context up to a multiple of this."""
_F16, _F32 = 2, 4
_PROCESS_BYTES = 64 << 20
"""Two Python processes with all that they import, and some requests."""
_TOKEN_BYTES = 160
"""llama.cpp's tables hold this much for each token and merge of the vocabulary."""
_GPU_BYTES = 600 << 20
"""The driver's context and the kernels on each GPU."""
_SPARE = 0.9
"""Share of the available memory that is planned with: the rest is for what comes later (embeddings, answers, files)."""
_MIB, _GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on one kind of memory."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    """Buffers that llama.cpp allots for a batch and its outputs."""
    runtime_bytes: int
    """Processes, vocabulary, kept answers, driver."""

    @property
    def total(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.runtime_bytes

    def __str__(self) -> str:
        parts = f"weights {size(self.weights_bytes)}, KV {size(self.kv_bytes)}, compute {size(self.compute_bytes)}"
        return f"{size(self.total)} ({parts}, rest {size(self.runtime_bytes)})"


@dataclass(frozen=True, slots=True)
class GpuRoom:
    """A GPU that llama.cpp lists, and its memory in bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Room:
    """Memory of this machine in bytes, and its GPUs; `no_gpu` says why there are none."""

    ram_total: int
    ram_available: int
    gpus: tuple[GpuRoom, ...] = ()
    no_gpu: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for. ctx and slots 0, gpu_layers -1: as much as fits."""

    ctx: int = 0
    slots: int = 0
    gpu_layers: int = -1
    chunk: int = 0
    extra_bytes: int = 0
    """Weights of adapters and of a projector."""
    cache_bytes: int = 0
    """What whole answers may be kept in."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What will be served with. `gpu` is None on a CPU; `warnings` are sentences."""

    ctx: int
    slots: int
    gpu_layers: int
    host: MemoryEstimate
    gpu: MemoryEstimate | None
    warnings: tuple[str, ...] = ()


def estimate(model: ModelHeader, demand: Demand) -> tuple[MemoryEstimate, MemoryEstimate]:
    """Memory of the host and of the GPUs that `demand` takes; nothing in it may be left open."""
    layers = min(demand.gpu_layers, len(model.blocks) + 1)
    on_host = len(model.blocks) - max(0, layers - 1)
    there, here = model.blocks[on_host:], model.blocks[:on_host]
    gpu_weights = sum(block.weights_bytes for block in there) + (model.output_bytes if layers else 0)
    copied = model.output_bytes if layers and model.tied else 0

    def kv(blocks: tuple[Block, ...]) -> int:
        one = sum(_padded(demand.ctx) * block.kv_per_token * _F16 + block.state * _F32 for block in blocks)
        return demand.slots * one

    compute = _compute_bytes(model, demand, on_gpu=layers > 0)
    outputs = _F32 * model.vocabulary * demand.slots
    host = MemoryEstimate(
        weights_bytes=model.weights_bytes - gpu_weights + copied + (0 if layers else demand.extra_bytes),
        kv_bytes=kv(here),
        compute_bytes=outputs + (compute if here or not layers else 0),
        runtime_bytes=_PROCESS_BYTES + _TOKEN_BYTES * model.tokens + demand.cache_bytes,
    )
    gpu = MemoryEstimate(
        weights_bytes=gpu_weights + (demand.extra_bytes if layers else 0),
        kv_bytes=kv(there),
        compute_bytes=compute if layers else 0,
        runtime_bytes=_GPU_BYTES if layers else 0,
    )
    return host, gpu


def chunk_for(parameters: int, *, on_gpu: bool) -> int:
    """Most prompt tokens in one call. More would cost memory for attention and bring nothing on a CPU."""
    if on_gpu:
        return 512
    return 256 if parameters < 50_000_000 else 128


def _compute_bytes(model: ModelHeader, demand: Demand, *, on_gpu: bool) -> int:
    """The widest moment of a batch: its logits, an attention layer, or a feed-forward layer.

    Counted in llama.cpp 0.3.36's own reports for four Llama shapes, contexts of 256 to 16384 and batches of 64 and 512.
    """
    cells = _padded(demand.ctx)
    chunk = demand.chunk or chunk_for(model.parameters, on_gpu=on_gpu)
    batch = min(max(chunk, 2 * demand.slots), demand.slots * cells)
    if on_gpu or demand.ctx > PLAIN_ATTENTION_CTX:
        attention = _F16 * cells + _F32 * (10 * model.width + 2 * model.key_width)
    else:
        attention = _F32 * cells * (model.heads + 1) + _F32 * (5 * model.width + 2 * model.key_width)
    logits = _F32 * (model.vocabulary * min(batch, demand.slots) + 2 * model.width * batch)
    feed_forward = _F32 * 2 * (model.feed_forward + model.width)
    return max(batch * attention, logits, batch * feed_forward)


def choose(model: ModelHeader, asked: Demand, room: Room) -> Fit:
    """The most that fits of what was left open; what was asked for stays as it is.

    Raises:
        ConfigError: more is needed than the machine has in all, and what would fit.
    """
    wishes = _wishes(model, asked, room)
    fitting = next((wish for wish in wishes if _fits(model, wish, room)), None)
    chosen = fitting or wishes[-1]
    host, gpu = estimate(model, chosen)
    _refuse_impossible(model, chosen, room)
    warnings = []
    if chosen.ctx > model.ctx_train > 0:
        warnings.append(f"the model was trained on {model.ctx_train} tokens; beyond them answers get worse")
    if asked.gpu_layers > 0 and not room.gpus:
        warnings.append(f"{asked.gpu_layers} layers were asked for on a GPU, and {room.no_gpu}")
    if host.total > room.ram_available:
        warnings.append(f"{size(host.total)} are needed and {size(room.ram_available)} of memory are available now")
    if chosen.gpu_layers and gpu.total > _free(room):
        warnings.append(f"{size(gpu.total)} are needed and {size(_free(room))} of the GPU's memory are free now")
    return Fit(chosen.ctx, chosen.slots, chosen.gpu_layers, host, gpu if chosen.gpu_layers else None, tuple(warnings))


def _wishes(model: ModelHeader, asked: Demand, room: Room) -> list[Demand]:
    """Everything that may be tried, the best first."""
    contexts = [asked.ctx or max(SMALLEST_CTX, min(model.ctx_train or LARGEST_AUTO_CTX, LARGEST_AUTO_CTX))]
    while not asked.ctx and contexts[-1] >= 2 * _SMALLEST_AUTO_CTX:
        contexts.append(contexts[-1] // 2)
    counts = (asked.slots,) if asked.slots else _SLOTS
    most = _layers(model, asked, room)
    ways = [(ctx, most, slots) for ctx in contexts for slots in counts]
    if most and asked.gpu_layers < 0:
        # A layer on the CPU slows every sequence down, so first fewer tokens and sequences, but not too few of them.
        some = [ctx for ctx in contexts if ctx >= _FEW_TOKENS] or contexts[:1]
        few = tuple(slots for slots in counts if slots <= _FEW_SLOTS) or counts
        ways = [(ctx, most, slots) for ctx in some for slots in counts]
        ways += [(ctx, layers, slots) for ctx in some for layers in range(most - 1, 0, -1) for slots in few]
        ways += [(ctx, 0, slots) for ctx in contexts for slots in counts]
    return [replace(asked, ctx=ctx, slots=slots, gpu_layers=layers) for ctx, layers, slots in ways]


def _layers(model: ModelHeader, asked: Demand, room: Room) -> int:
    """Layers on GPUs at most; the output counts as one, as in llama.cpp."""
    whole = len(model.blocks) + 1
    if not room.gpus:
        return 0
    return whole if asked.gpu_layers < 0 else min(asked.gpu_layers, whole)


def _fits(model: ModelHeader, demand: Demand, room: Room) -> bool:
    host, gpu = estimate(model, demand)
    return host.total <= _SPARE * room.ram_available and gpu.total <= _SPARE * _free(room)


def _refuse_impossible(model: ModelHeader, chosen: Demand, room: Room) -> None:
    """Refuse only what cannot work: weights and KV beyond all the memory there is, free or not."""
    host, gpu = estimate(model, chosen)
    gpu_total = sum(one.total for one in room.gpus)
    for need, have, where in ((host, room.ram_total, "this machine has"), (gpu, gpu_total, "the GPU has")):
        if need.weights_bytes + need.kv_bytes <= have:
            continue
        if need.weights_bytes > have and need is gpu:
            what = f"the weights of {chosen.gpu_layers} layers need {size(need.weights_bytes)} and {where} {size(have)}"
            raise ConfigError("gpu_layers", what, "use fewer, or -1 for as many as fit")
        if need.weights_bytes > have:
            what = f"its weights alone need {size(need.weights_bytes)} and {where} {size(have)}"
            raise ConfigError("model", what, "use a smaller model or quantisation")
        what = (
            f"{chosen.slots} sequences of {chosen.ctx} tokens need {size(need.kv_bytes)} beside "
            f"{size(need.weights_bytes)} of weights, and {where} {size(have)}"
        )
        per_cell = need.kv_bytes / (chosen.slots * _padded(chosen.ctx))
        cells = max(0, int((_SPARE * have - need.total + need.kv_bytes) / per_cell))
        slots, ctx = cells // _padded(chosen.ctx), cells // chosen.slots // _CELLS * _CELLS
        ways = [f"{slots} slot{'s' if slots > 1 else ''}" if slots else "", f"a ctx of {ctx}" if ctx else ""]
        fix = " or ".join(filter(None, ways))
        raise ConfigError("slots" if slots else "ctx", what, f"{fix} would fit" if fix else "use a smaller model")


def _free(room: Room) -> int:
    return sum(one.free for one in room.gpus)


def _padded(ctx: int) -> int:
    return -(-ctx // _CELLS) * _CELLS


def size(count: int) -> str:
    """`4.7 GiB`, `320 MiB`."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{-(-count // _MIB)} MiB"
