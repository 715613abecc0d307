"""A loaded model and its KV cache as Python values.

A request's text must not depend on who runs beside it, so every prompt chunk is a call of its own and every decode step
is padded (see padding.py).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.decode.bindings import L, devices, on_log
from engine.decode.padding import Row, with_padding
from engine.decode.sampler import Sampler, make_sampler
from engine.decode.vocabulary import Vocabulary
from engine.errors import DecodeError, ModelError
from engine.process import log
from engine.wire import ModelFacts, Sampling, TokenLogprob

_PLAIN_ATTENTION_CTX = 8192
"""Up to here plain attention serves on a CPU: 16 sequences of 512 tokens decode in 12.5 ms of CPU time instead of
20 with flash attention (prompts 10 % slower). Beyond, its buffer of context x chunk x heads gets large."""


class Llama:
    """A loaded model with a context of `slots` separate KV streams. Use it from one thread (but for `vocab`)."""

    def __init__(
        self, path: Path, *, ctx: int, slots: int, threads: int, gpu_layers: int = -1, prefill_chunk: int = 0
    ) -> None:
        L.llama_log_set(on_log, None)
        L.llama_backend_init()
        gpus = [device for device in devices() if device.is_gpu]
        layers = gpu_layers if gpu_layers >= 0 else (999 if gpus else 0)
        if layers and not gpus:
            log("decode", "no_gpu", asked_layers=layers, using="cpu")
            layers = 0
        model_params = L.llama_model_default_params()
        model_params.n_gpu_layers = layers
        # Repacked weights use one kernel for a lone column and another for several, with other rounding; and their AMX
        # kernel crashes on Q8_0 at the first batch of several tokens (0.3.36, a virtual Xeon, in
        # ggml_backend_amx_mul_mat).
        model_params.use_extra_bufts = False
        self._model = L.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self._model:
            raise ModelError(f"llama.cpp cannot load {path}: the file is damaged or of an unknown architecture")
        if not L.llama_model_has_decoder(self._model) or L.llama_model_has_encoder(self._model):
            raise ModelError(f"{path} is not a decoder-only model, and only those can be served")
        self.vocab = Vocabulary(L.llama_model_get_vocab(self._model))
        if self.vocab.size <= 0:
            raise ModelError(f"{path} holds no vocabulary")
        self.chunk = prefill_chunk or _chunk_for(int(L.llama_model_n_params(self._model)), on_gpu=layers > 0)
        params = L.llama_context_default_params()
        params.n_ctx = ctx * slots
        params.n_seq_max = slots
        params.n_batch = params.n_ubatch = max(self.chunk, 2 * slots)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = False
        params.no_perf = True
        params.offload_kqv = params.op_offload = layers > 0
        if not layers and ctx <= _PLAIN_ATTENTION_CTX:
            params.flash_attn_type = 0
        self._ctx = L.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise ModelError(f"no memory for {slots} sequences of {ctx} tokens: use fewer slots or a shorter ctx")
        if L.llama_n_ctx_seq(self._ctx) < ctx:
            raise ModelError(f"llama.cpp gives each sequence {L.llama_n_ctx_seq(self._ctx)} tokens, not {ctx}")
        self._memory = L.llama_get_memory(self._ctx)
        self.ctx, self.slots, self.gpu_layers = ctx, slots, layers
        self.device = gpus[0].description if layers else "CPU"
        # Recurrent state cannot be rolled back by a token, so such models get no padding.
        self._pads = not (L.llama_model_is_recurrent(self._model) or L.llama_model_is_hybrid(self._model))
        self.lengths = [0] * slots
        """Tokens each slot's KV stream holds."""
        self._batch = _Batch(params.n_batch)
        self._outputs: list[int] = []
        """Index in the batch of each row that has logits to choose from."""
        self._rows: list[int] = []
        """Index in `_logits` of the same rows."""
        self._logits: npt.NDArray[np.float32] = np.empty((0, self.vocab.size), np.float32)

    def decode_rows(self, rows: Sequence[Row]) -> None:
        """Compute the next-token logits of every row in one llama_decode; row i is rows[i]'s.

        `rows` are in order of slot, at most one a slot. Raises DecodeError; NoRoom when no KV cell was free
        (then nothing has changed).
        """
        batch = self._batch
        filled = with_padding(rows, self.lengths, self.ctx) if self._pads else list(rows)
        for index, row in enumerate(filled):
            batch.tokens[index] = max(row.token, 0)
            batch.positions[index] = row.position
            batch.sequences[index] = row.slot
            # Padding too: the output matrix is a product over the rows with logits only, where one must not be alone.
            batch.outputs[index] = 1
        self._run(len(filled))
        for row in filled:
            if row.token >= 0:
                self.lengths[row.slot] = row.position + 1
            else:
                L.llama_memory_seq_rm(self._memory, row.slot, row.position, -1)
        self._outputs = [index for index, row in enumerate(filled) if row.token >= 0]
        self._view_logits(len(filled), self._outputs)

    def prefill(self, slot: int, position: int, tokens: Sequence[int], *, wants_logits: bool) -> None:
        """Add prompt tokens to a slot's stream. With `wants_logits`, row 0 is the last token's."""
        batch, count = self._batch, len(tokens)
        batch.tokens[:count] = tokens
        batch.positions[:count] = np.arange(position, position + count, dtype=np.int32)
        batch.sequences[:count] = slot
        batch.outputs[:count] = 0
        batch.outputs[count - 1] = wants_logits
        self._run(count)
        self._outputs = [count - 1]
        self.lengths[slot] = position + count
        if wants_logits:
            self._view_logits(1, [0])

    def free(self, slot: int) -> None:
        """Forget everything a slot holds."""
        L.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self.lengths[slot] = 0

    def clear(self) -> None:
        """Forget every slot."""
        L.llama_memory_clear(self._memory, True)
        self.lengths = [0] * self.slots

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """(vocabulary,) of one row of the last call; valid until the next one."""
        logits: npt.NDArray[np.float32] = self._logits[self._rows[row]]
        return logits

    def sampler(self, sampling: Sampling) -> Sampler | None:
        """See make_sampler."""
        return make_sampler(sampling, self.vocab)

    def sample(self, sampler: Sampler, row: int) -> int:
        """Choose and accept a token from the logits of row `row`."""
        return int(L.llama_sampler_sample(sampler.chain, self._ctx, self._outputs[row]))

    def logprobs(self, row: int, token: int, top: int) -> TokenLogprob:
        """Natural-log probabilities of `token` and the `top` likeliest in row `row`, before any sampler."""
        logits = self.logits(row).astype(np.float64)
        peak = logits.max()
        norm = float(peak + np.log(np.exp(logits - peak).sum()))
        best = np.argpartition(-logits, min(top, logits.size - 1))[:top] if top else np.empty(0, np.int64)
        best = best[np.argsort(-logits[best], kind="stable")]
        return TokenLogprob(
            token=self.vocab.piece(token),
            logprob=float(logits[token]) - norm,
            top=[(self.vocab.piece(int(t)), float(logits[t]) - norm) for t in best],
        )

    def facts(self) -> ModelFacts:
        """What the API process tells clients about the model."""
        buffer = ctypes.create_string_buffer(256)
        L.llama_model_desc(self._model, buffer, 256)
        template = L.llama_model_chat_template(self._model, None)
        return ModelFacts(
            description=buffer.value.decode("utf-8", "replace"),
            n_params=int(L.llama_model_n_params(self._model)),
            size_bytes=int(L.llama_model_size(self._model)),
            quantisation=(L.llama_ftype_name(L.llama_model_ftype(self._model)) or b"").decode(),
            n_vocab=self.vocab.size,
            ctx=self.ctx,
            ctx_train=int(L.llama_model_n_ctx_train(self._model)),
            slots=self.slots,
            device=self.device,
            gpu_layers=self.gpu_layers,
            longest_token_bytes=self.vocab.longest_bytes,
            chat_template=(template or b"").decode("utf-8", "replace"),
            bos=self.vocab.text(self.vocab.bos),
            eos=self.vocab.text(self.vocab.eos),
            build=(L.llama_version() or b"").decode("utf-8", "replace"),
        )

    def _run(self, count: int) -> None:
        batch = self._batch
        batch.struct.n_tokens = count
        code = L.llama_decode(self._ctx, batch.struct)
        if code == 1:
            raise NoRoom("llama.cpp found no free KV cells for the batch")
        if code != 0:
            raise DecodeError(f"llama_decode answered {code} for a batch of {count} tokens")

    def _view_logits(self, count: int, rows: list[int]) -> None:
        pointer = L.llama_get_logits(self._ctx)
        self._logits = np.ctypeslib.as_array(pointer, shape=(count, self.vocab.size))
        self._rows = rows


class NoRoom(DecodeError):
    """No KV cell was free; the memory is as it was before the call."""


class _Batch:
    """A llama_batch over numpy arrays, so that a step writes whole columns and allocates nothing."""

    def __init__(self, capacity: int) -> None:
        self.tokens = np.zeros(capacity, np.int32)
        self.positions = np.zeros(capacity, np.int32)
        self.sequences = np.zeros(capacity, np.int32)
        self.outputs = np.zeros(capacity, np.int8)
        self._counts = np.ones(capacity, np.int32)
        self._pointers = self.sequences.ctypes.data + 4 * np.arange(capacity, dtype=np.uint64)
        self.struct = L.llama_batch()
        for field, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self.outputs),
        ):
            kind = dict(L.llama_batch._fields_)[field]
            setattr(self.struct, field, ctypes.cast(array.ctypes.data, kind))


def _chunk_for(n_params: int, *, on_gpu: bool) -> int:
    """Prompt tokens per call: as many as keep the pause of running streams in the tens of milliseconds."""
    if on_gpu:
        return 512
    return 128 if n_params < 50_000_000 else 64 if n_params < 500_000_000 else 32
