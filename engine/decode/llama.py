"""A model's KV cache, one stream for each slot, and what is computed in it.

Nothing a request gets may depend on who runs beside it. On a CPU kernels give the same bits however a prompt is cut
and however many rows a step has, for quantised weights; `deterministic` keeps every call to one shape, for the rest.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.decode.batch import Batch
from engine.decode.bindings import L, interrupted
from engine.decode.model import Model
from engine.decode.padding import PADDING, with_padding
from engine.decode.projector import Part, Projector
from engine.decode.sampler import Sampler, make_sampler
from engine.decode.schedule import DecodeRow
from engine.errors import DecodeError, ModelError
from engine.fit import PLAIN_ATTENTION_CTX, chunk_for
from engine.wire import ModelFacts, Sampling, TokenLogprob

_GRID = 4
"""Positions that each row of an image has in models with M-RoPE."""


class Llama:
    """A loaded model with a context of `slots` separate KV streams. Use it from one thread (but for `vocab`)."""

    def __init__(
        self,
        path: Path,
        *,
        ctx: int,
        slots: int,
        threads: int,
        gpu_layers: int = -1,
        prefill_chunk: int = 0,
        deterministic: bool = False,
        lora: Iterable[tuple[str, Path]] = (),
        mmproj: Path | None = None,
    ) -> None:
        self.model = model = Model(path, gpu_layers=gpu_layers, lora=lora)
        self.vocab = model.vocab
        on_gpu = model.gpu_layers > 0
        self.projector = Projector(mmproj, model.pointer, threads=threads, on_gpu=on_gpu) if mmproj else None
        self.chunk = prefill_chunk or chunk_for(model.n_params, on_gpu=on_gpu)
        params = L.llama_context_default_params()
        params.n_ctx = ctx * slots
        params.n_seq_max = slots
        at_once = self.projector.longest_whole if self.projector else 0
        params.n_batch = params.n_ubatch = max(self.chunk, 2 * slots, at_once)
        params.n_threads = params.n_threads_batch = threads
        params.n_outputs_max = slots  # llama.cpp keeps logits of the vocabulary's size for so many
        params.kv_unified = False
        params.swa_full = True
        params.no_perf = True
        params.offload_kqv = params.op_offload = model.gpu_layers > 0
        if not model.gpu_layers and ctx <= PLAIN_ATTENTION_CTX:
            params.flash_attn_type = 0
        self._ctx = L.llama_init_from_model(model.pointer, params)
        if not self._ctx:
            raise ModelError(f"no memory for {slots} sequences of {ctx} tokens: use fewer slots or a shorter ctx")
        if L.llama_n_ctx_seq(self._ctx) < ctx:
            raise ModelError(f"llama.cpp gives each sequence {L.llama_n_ctx_seq(self._ctx)} tokens, not {ctx}")
        self._memory = L.llama_get_memory(self._ctx)
        self._stop_flag = ctypes.create_string_buffer(2)
        # llama.cpp asks before each node of its graph whether to go on. Python could only answer with the interpreter
        # lock; the C library's strlen needs none: 0 (go on) for a flag of "", 1 (stop) for one of a single byte.
        L.llama_set_abort_callback(
            self._ctx, ctypes.cast(ctypes.CDLL(None).strlen, L.ggml_abort_callback), ctypes.addressof(self._stop_flag)
        )
        self.ctx, self.slots, self.threads = ctx, slots, threads
        self.deterministic = deterministic
        self.shares = not model.recurrent
        """Whether a stream can be cut back to a shorter beginning."""
        self.lengths = [0] * slots
        """Tokens each slot's KV stream holds."""
        self._saved: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
        """Of each slot's stream, where an image ends and how many positions fewer than rows it took (M-RoPE)."""
        self._adapter = ""
        self._batch = Batch(params.n_batch, dimensions=_GRID if self.projector and self.projector.has_grid else 1)
        self._views: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        """(address, rows) -> llama.cpp's logits as an array; making one takes 30 us."""
        self._outputs: list[int] = []
        """Index in the batch of each row that has logits to choose from."""
        self._rows: list[int] = []
        """Index in `_logits` of the same rows."""
        self._logits: Any = None
        """llama.cpp's pointer to the logits of `_count` rows."""
        self._count = 0

    def decode_rows(self, rows: Sequence[DecodeRow], adapter: str = "") -> None:
        """Compute the next-token logits of every row in one llama_decode; row i is rows[i]'s.

        `rows` are in order of slot, at most one a slot. Raises DecodeError; NoRoom when no KV cell was free
        (then nothing has changed).
        """
        filled = with_padding(rows, self.lengths, self.ctx, every=self.deterministic) if self.shares else list(rows)
        count = len(filled)
        self._batch.fill(
            [row.token for row in filled],
            [self._position(row.slot, row.position) for row in filled],
            [row.slot for row in filled],
        )
        self._run(count, adapter)
        if count == len(rows):
            self._outputs = list(range(count))
            for row in filled:
                self.lengths[row.slot] = row.position + 1
        else:
            self._outputs = [index for index, row in enumerate(filled) if row.id != PADDING]
            for row in filled:
                if row.id == PADDING:
                    L.llama_memory_seq_rm(self._memory, row.slot, self._position(row.slot, row.position), -1)
                else:
                    self.lengths[row.slot] = row.position + 1
        self._take_logits(count, self._outputs)

    def prefill(
        self, slot: int, position: int, tokens: Sequence[int], *, wants_logits: bool, adapter: str = ""
    ) -> None:
        """Add prompt tokens to a slot's stream. With `wants_logits`, row 0 is the last token's.

        Raises DecodeError; Interrupted when `interrupt` was called meanwhile (then nothing has changed).
        """
        batch, count = self._batch, len(tokens)
        first = self._position(slot, position)
        batch.tokens[:count] = tokens
        batch.positions[:count] = np.arange(first, first + count, dtype=np.int32)
        self._prefill(slot, position, count, None, wants_logits=wants_logits, adapter=adapter)

    def prefill_image(self, slot: int, start: int, part: Part, *, wants_logits: bool, adapter: str = "") -> None:
        """Add rows of an image that starts at `start` to a slot's stream; else as `prefill`."""
        rows, first, count = part.rows, part.first, part.count
        values, at = rows.values[first : first + count], self._position(slot, start)
        positions = self._batch.positions
        if rows.grid is None:
            positions[:count] = np.arange(at + first, at + first + count, dtype=np.int32)
        else:  # time, row, column, and one that models leave unused
            positions[: _GRID * count] = 0
            positions[: rows.grid.shape[0] * count] = (rows.grid[:, first : first + count] + at).ravel()
        if part.whole:
            L.llama_set_causal_attn(self._ctx, False)
        try:
            self._prefill(slot, start + first, count, values, wants_logits=wants_logits, adapter=adapter)
        finally:
            if part.whole:
                L.llama_set_causal_attn(self._ctx, True)
        if first + count == len(rows.values) and rows.extent != len(rows.values):
            self._saved[slot].append((start + len(rows.values), len(rows.values) - rows.extent))

    def _prefill(
        self,
        slot: int,
        position: int,
        count: int,
        rows: npt.NDArray[np.float32] | None,
        *,
        wants_logits: bool,
        adapter: str,
    ) -> None:
        self._batch.of_one(slot, count, wants_logits=wants_logits)
        try:
            self._run(count, adapter, rows)
        except Interrupted:
            L.llama_memory_seq_rm(self._memory, slot, self._position(slot, position) if position else -1, -1)
            raise
        self._outputs = [count - 1]
        self.lengths[slot] = position + count
        if wants_logits:
            self._take_logits(1, [0])

    def interrupt(self) -> None:
        """End the `prefill` that another thread is in, and every call until `resume`; without effect on a GPU."""
        interrupted.set()
        self._stop_flag.value = b"\1"

    def resume(self) -> None:
        """Calls are computed again."""
        self._stop_flag.value = b""
        interrupted.clear()

    def _position(self, slot: int, length: int) -> int:
        """The position after the first `length` tokens or rows of a slot's stream."""
        saved = self._saved[slot]
        return length - sum(fewer for end, fewer in saved if end <= length) if saved else length

    def start(self, slot: int, source: int, length: int) -> None:
        """A slot's stream shall hold the first `length` tokens of the stream of `source`, which may be itself.

        Another stream is copied as a whole, since llama.cpp copies between separate streams only so, and cut back.
        """
        if source != slot:
            L.llama_memory_seq_rm(self._memory, slot, -1, -1)
            L.llama_memory_seq_cp(self._memory, source, slot, -1, -1)
            self.lengths[slot], self._saved[slot] = self.lengths[source], self._saved[source]
        self._saved[slot] = [(end, saved) for end, saved in self._saved[slot] if end <= length]
        if self.lengths[slot] > length:
            first = self._position(slot, length) if length else -1
            if not L.llama_memory_seq_rm(self._memory, slot, first, -1):
                raise DecodeError(f"llama.cpp cannot cut a stream back to {length} tokens")
            self.lengths[slot] = length

    def clear(self) -> None:
        """Forget every slot."""
        L.llama_memory_clear(self._memory, True)
        self.lengths = [0] * self.slots
        self._saved = [[] for _ in range(self.slots)]

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """(vocabulary,) of one row of the last call, valid until the next; `sample` sees what is written into it."""
        at = ctypes.addressof(self._logits.contents)
        view = self._views.get((at, self._count))
        if view is None:  # llama.cpp may move its buffer, seldom
            if len(self._views) > 4 * self.slots:
                self._views.clear()
            view = np.ctypeslib.as_array(self._logits, shape=(self._count, self.vocab.size))
            self._views[at, self._count] = view
        logits: npt.NDArray[np.float32] = view[self._rows[row]]
        return logits

    def logit(self, row: int, token: int) -> float:
        """A single one of them."""
        return float(self._logits[self._rows[row] * self.vocab.size + token])

    def sampler(self, sampling: Sampling) -> Sampler | None:
        """See make_sampler."""
        return make_sampler(sampling, self.vocab)

    def sample(self, sampler: Sampler, row: int) -> int:
        """Choose and accept a token from the logits of row `row`."""
        return int(L.llama_sampler_sample(sampler.chain, self._ctx, self._outputs[row]))

    def logprobs(self, row: npt.NDArray[np.float32], token: int, top: int) -> TokenLogprob:
        """Natural-log probabilities of `token` and the `top` likeliest in a row of logits, before any sampler."""
        logits = row.astype(np.float64)
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
        model = self.model
        return ModelFacts(
            description=model.description,
            n_params=model.n_params,
            size_bytes=int(L.llama_model_size(model.pointer)),
            quantisation=(L.llama_ftype_name(L.llama_model_ftype(model.pointer)) or b"").decode(),
            n_vocab=self.vocab.size,
            ctx=self.ctx,
            ctx_train=int(L.llama_model_n_ctx_train(model.pointer)),
            slots=self.slots,
            device=model.device,
            gpu_layers=model.gpu_layers,
            longest_token_bytes=self.vocab.longest_bytes,
            chat_template=model.chat_template,
            bos=self.vocab.text(self.vocab.bos),
            eos=self.vocab.text(self.vocab.eos),
            build=(L.llama_version() or b"").decode("utf-8", "replace"),
            n_embd=model.n_embd,
            adapters=list(model.adapters),
            prefix_sharing=self.shares,
            images=self.projector is not None,
            digest=model.digest,
        )

    def _run(self, count: int, adapter: str, rows: npt.NDArray[np.float32] | None = None) -> None:
        """Compute `count` tokens, or these rows, from what stands in the batch."""
        if adapter != self._adapter:
            self._use(adapter)
        batch = self._batch
        batch.struct.n_tokens = count
        code = L.llama_decode(self._ctx, batch.struct if rows is None else batch.embedded(rows))
        if code == 1:
            raise NoRoom("llama.cpp found no free KV cells for the batch")
        if code == 2:
            raise Interrupted("the call was ended from outside")
        if code != 0:
            raise DecodeError(f"llama_decode answered {code} for a batch of {count} tokens")

    def _use(self, adapter: str) -> None:
        """From now on compute with this LoRA adapter, or with none."""
        pointers = [self.model.adapters[adapter]] if adapter else []
        code = L.llama_set_adapters_lora(
            self._ctx,
            (L.llama_adapter_lora_p_ctypes * len(pointers))(*pointers),
            len(pointers),
            (ctypes.c_float * len(pointers))(*[1.0] * len(pointers)),
        )
        if code != 0:
            raise DecodeError(f"llama.cpp answered {code} for the LoRA adapter {adapter!r}")
        self._adapter = adapter

    def _take_logits(self, count: int, rows: list[int]) -> None:
        self._logits, self._count, self._rows = L.llama_get_logits(self._ctx), count, rows


class NoRoom(DecodeError):
    """No KV cell was free; the memory is as it was before the call."""


class Interrupted(DecodeError):
    """The call was ended by `interrupt`; the memory is as it was before."""
