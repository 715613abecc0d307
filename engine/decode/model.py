"""A loaded model: weights, vocabulary, LoRA adapters, and what there is to say about them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.decode.bindings import L, devices, on_log
from engine.decode.vocabulary import Vocabulary
from engine.errors import ModelError
from engine.fingerprint import digest_of
from engine.process import log


class Model:
    """Weights on their device, with a vocabulary and adapters by name. Raises ModelError."""

    def __init__(self, path: Path, *, gpu_layers: int, lora: Iterable[tuple[str, Path]]) -> None:
        L.llama_log_set(on_log, None)
        L.llama_backend_init()
        gpus = [device for device in devices() if device.is_gpu]
        layers = gpu_layers if gpu_layers >= 0 else (999 if gpus else 0)
        if layers and not gpus:
            log("decode", "no_gpu", asked_layers=layers, using="cpu")
            layers = 0
        params = L.llama_model_default_params()
        params.n_gpu_layers = layers
        # Repacked weights use one kernel for a lone column and another for several, with other rounding; and their AMX
        # kernel crashes on Q8_0 at the first batch of several tokens (0.3.36, a virtual Xeon, in
        # ggml_backend_amx_mul_mat).
        params.use_extra_bufts = False
        path = path.resolve()  # a link that is changed meanwhile must not give one file's digest and another's weights
        try:
            self.digest = digest_of(path)
        except OSError as error:
            raise ModelError(f"{path} cannot be read ({error.strerror}); check path and mode") from error
        self.pointer = L.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            raise ModelError(f"llama.cpp cannot load {path}: the file is damaged or of an unknown architecture")
        if not L.llama_model_has_decoder(self.pointer) or L.llama_model_has_encoder(self.pointer):
            raise ModelError(f"{path} is not a decoder-only model, and only those can be served")
        self.vocab = Vocabulary(L.llama_model_get_vocab(self.pointer))
        if self.vocab.size <= 0:
            raise ModelError(f"{path} holds no vocabulary")
        self.gpu_layers = layers
        self.device = gpus[0].description if layers else "CPU"
        self.n_params = int(L.llama_model_n_params(self.pointer))
        self.n_embd = int(L.llama_model_n_embd(self.pointer))
        self.recurrent = bool(L.llama_model_is_recurrent(self.pointer) or L.llama_model_is_hybrid(self.pointer))
        """State that cannot be rolled back by a token."""
        self.adapters: dict[str, Any] = {name: self._adapter(name, file) for name, file in lora}

    def _adapter(self, name: str, path: Path) -> Any:
        pointer = L.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not pointer:
            raise ModelError(f"llama.cpp cannot load the LoRA adapter {name!r} from {path}: is it made for this model?")
        return pointer

    @property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        L.llama_model_desc(self.pointer, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def chat_template(self) -> str:
        return (L.llama_model_chat_template(self.pointer, None) or b"").decode("utf-8", "replace")
