"""Makes a LoRA adapter with random weights for a model of the Llama shape: `from lora_file import write_adapter`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.gguf import read_head
from tests.benchmarks.engine_bench.gguf_file import Tensor, write

RANK = 4


def write_adapter(path: Path, model: Path, strength: float, seed: int = 1) -> None:
    """An adapter on every layer's query and output projection; the larger `strength`, the further from the model."""
    rng = np.random.default_rng(seed)
    tensors = []
    for info in read_head(model).tensors:
        if not info.name.endswith(("attn_q.weight", "attn_output.weight")):
            continue
        width_in, width_out = info.shape
        for part, shape in (("lora_a", (RANK, width_in)), ("lora_b", (width_out, RANK))):
            values = rng.normal(0, strength, shape).astype("<f4")
            tensors.append(Tensor(f"{info.name}.{part}", shape, False, [values.tobytes()]))
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(RANK),
    }
    write(path, metadata, tensors)
