"""llama.cpp as Python values: the only file that imports llama_cpp.

Two facts shape it. llama.cpp splits a batch over separate KV streams into sub-batches of neighbouring sequence ids, so
holes between running slots are filled with padding tokens (`decode_rows`). And on a CPU a matrix product with one
column runs another kernel, with other rounding, than one with two or more: a lone row is therefore decoded beside a
padding row, and each prompt chunk in a call of its own, so that a request's text does not depend on who runs beside it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import DecodeError, ModelError
from engine.process import log
from engine.wire import ModelFacts, Sampling, TokenLogprob

# A C++ exception otherwise starts gdb to print a backtrace, and hangs where ptrace is forbidden.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")


def _load_bindings() -> types.ModuleType:
    """llama_cpp's bindings without its package's __init__, which imports 30 modules that nobody needs here (0.1 s)."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ModelError("llama-cpp-python is not installed: run `pip install llama-cpp-python==0.3.36`")
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


_L = _load_bindings()

MERGE_HOLE = 4
"""A hole of at most this many idle slots is padded; a wider one costs a sub-batch of its own."""
_PLAIN_ATTENTION_CTX = 8192
"""Up to here plain attention serves on a CPU: 16 sequences of 512 tokens decode in 12.5 ms of CPU time instead of
20 with flash attention (prompts 10 % slower). Beyond, its buffer of context x chunk x heads gets large."""
_GPU_TYPES = (1, 2)
_LOG_WARN = 3
_ATTR_CONTROL = 1 << 3

_last_level = 0


@_L.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp has no types
def _on_log(level: int, text: bytes, _user: object) -> None:
    global _last_level
    if level != 5:  # 5 continues the previous line
        _last_level = level
    if _last_level in (_LOG_WARN, 4):
        sys.stderr.write(text.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Row:
    """One token of one running sequence: its slot, its position in the sequence, its id."""

    slot: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Device:
    """A compute device that ggml lists."""

    name: str
    description: str
    is_gpu: bool


def devices() -> tuple[Device, ...]:
    """What ggml can compute on. llama_supports_gpu_offload() is no answer: it is also true for RPC builds."""
    lib = _L._lib
    lib.ggml_backend_dev_count.restype = ctypes.c_size_t
    lib.ggml_backend_dev_get.argtypes, lib.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    lib.ggml_backend_dev_type.argtypes, lib.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    for function in (lib.ggml_backend_dev_name, lib.ggml_backend_dev_description):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_char_p
    found = []
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        found.append(
            Device(
                name=lib.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=lib.ggml_backend_dev_description(device).decode("utf-8", "replace").strip(),
                is_gpu=lib.ggml_backend_dev_type(device) in _GPU_TYPES,
            )
        )
    return tuple(found)


class Sampler:
    """A sampler chain of llama.cpp for one sequence, with its own random state. Close it when the sequence ends."""

    def __init__(self, chain: int) -> None:
        self._chain = chain

    def close(self) -> None:
        if self._chain:
            _L.llama_sampler_free(self._chain)
            self._chain = 0


class Vocabulary:
    """Text to tokens and back. `tokenize` may be called from any thread."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab
        self.size = int(_L.llama_vocab_n_tokens(vocab))
        self.adds_bos = bool(_L.llama_vocab_get_add_bos(vocab))
        self.bos = int(_L.llama_vocab_bos(vocab))
        self.eos = int(_L.llama_vocab_eos(vocab))
        self.ends = frozenset(t for t in range(self.size) if _L.llama_vocab_is_eog(vocab, t))
        self.longest_bytes = max(len(_L.llama_vocab_get_text(vocab, t) or b"") for t in range(self.size))
        self._pieces: dict[int, bytes] = {}

    def text(self, token: int) -> str:
        """The token as the vocabulary writes it ("" for none)."""
        if not 0 <= token < self.size:
            return ""
        return (_L.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`; control tokens are recognised in it only if `special`. BOS is never added."""
        data = text.encode("utf-8", "replace")
        if not data:
            return []
        room = len(data) + 8
        buffer = (_L.llama_token * room)()
        count = _L.llama_tokenize(self._vocab, data, len(data), buffer, room, False, special)
        if count < 0:
            raise DecodeError(f"llama_tokenize answered {count} for {len(data)} bytes")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; control tokens stand for none. An id outside the vocabulary raises."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        if not 0 <= token < self.size:
            raise DecodeError(f"token {token} is outside the vocabulary of {self.size}")
        size = 64
        buffer = ctypes.create_string_buffer(size)
        length = _L.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = _L.llama_token_to_piece(self._vocab, token, buffer, -length, 0, False)
        piece = bytes(buffer.raw[: max(0, length)])
        self._pieces[token] = piece
        return piece

    def is_control(self, token: int) -> bool:
        return bool(_L.llama_vocab_get_attr(self._vocab, token) & _ATTR_CONTROL)


class Llama:
    """A loaded model with a context of `slots` separate KV streams. Use it from one thread (but for `vocab`)."""

    def __init__(
        self, path: Path, *, ctx: int, slots: int, threads: int, gpu_layers: int = -1, prefill_chunk: int = 0
    ) -> None:
        _L.llama_log_set(_on_log, None)
        _L.llama_backend_init()
        gpus = [device for device in devices() if device.is_gpu]
        layers = gpu_layers if gpu_layers >= 0 else (999 if gpus else 0)
        if layers and not gpus:
            log("decode", "no_gpu", asked_layers=layers, using="cpu")
            layers = 0
        model_params = _L.llama_model_default_params()
        model_params.n_gpu_layers = layers
        # Repacked weights use one kernel for a lone column and another for several, with other rounding; and in the
        # their AMX kernel crashes on Q8_0 at the first batch of several tokens (0.3.36 on a virtual Xeon, gdb: in
        # ggml_backend_amx_mul_mat).
        model_params.use_extra_bufts = False
        self._model = _L.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self._model:
            raise ModelError(f"llama.cpp cannot load {path}: the file is damaged or of an unknown architecture")
        if not _L.llama_model_has_decoder(self._model) or _L.llama_model_has_encoder(self._model):
            raise ModelError(f"{path} is not a decoder-only model, and only those can be served")
        self.vocab = Vocabulary(_L.llama_model_get_vocab(self._model))
        if self.vocab.size <= 0:
            raise ModelError(f"{path} holds no vocabulary")
        self.chunk = prefill_chunk or _chunk_for(int(_L.llama_model_n_params(self._model)), on_gpu=layers > 0)
        params = _L.llama_context_default_params()
        params.n_ctx = ctx * slots
        params.n_seq_max = slots
        params.n_batch = params.n_ubatch = max(self.chunk, 2 * slots)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = False
        params.no_perf = True
        params.offload_kqv = params.op_offload = layers > 0
        if not layers and ctx <= _PLAIN_ATTENTION_CTX:
            params.flash_attn_type = 0
        self._ctx = _L.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise ModelError(f"no memory for {slots} sequences of {ctx} tokens: use fewer slots or a shorter ctx")
        if _L.llama_n_ctx_seq(self._ctx) < ctx:
            raise ModelError(f"llama.cpp gives each sequence {_L.llama_n_ctx_seq(self._ctx)} tokens, not {ctx}")
        self._memory = _L.llama_get_memory(self._ctx)
        self.ctx, self.slots, self.gpu_layers = ctx, slots, layers
        self.device = gpus[0].description if layers else "CPU"
        # Recurrent state cannot be rolled back by a token, so such models get no padding.
        self._pads = not (_L.llama_model_is_recurrent(self._model) or _L.llama_model_is_hybrid(self._model))
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
        filled = _with_padding(rows, self.lengths, self.ctx, self._pads)
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
                _L.llama_memory_seq_rm(self._memory, row.slot, row.position, -1)
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
        _L.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self.lengths[slot] = 0

    def clear(self) -> None:
        """Forget every slot."""
        _L.llama_memory_clear(self._memory, True)
        self.lengths = [0] * self.slots

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """(vocabulary,) of one row of the last call; valid until the next one."""
        logits: npt.NDArray[np.float32] = self._logits[self._rows[row]]
        return logits

    def sampler(self, sampling: Sampling) -> Sampler | None:
        """A chain for one sequence; None when the likeliest token is wanted and nothing else touches the logits."""
        plain = sampling.presence_penalty == sampling.frequency_penalty == 0.0 and sampling.repeat_penalty == 1.0
        if sampling.temperature <= 0.0 and plain and not sampling.ignore_eos:
            return None
        chain = _L.llama_sampler_chain_init(_L.llama_sampler_chain_default_params())
        if not chain:
            raise DecodeError("llama.cpp made no sampler chain")
        links = []
        if sampling.ignore_eos and self.vocab.ends:
            biases = (_L.llama_logit_bias * len(self.vocab.ends))()
            for bias, token in zip(biases, sorted(self.vocab.ends), strict=True):
                bias.token, bias.bias = token, -float("inf")
            links.append(_L.llama_sampler_init_logit_bias(self.vocab.size, len(biases), biases))
        # The cap comes first: over a vocabulary of 152k, top_p alone takes 16 ms and with the cap 0.1 ms.
        links.append(_L.llama_sampler_init_top_k(sampling.top_k))
        if not plain:
            links.append(
                _L.llama_sampler_init_penalties(
                    self.vocab.size, 64, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
                )
            )
        if sampling.temperature <= 0.0:
            links.append(_L.llama_sampler_init_greedy())
        else:
            if sampling.top_p < 1.0:
                links.append(_L.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0.0:
                links.append(_L.llama_sampler_init_min_p(sampling.min_p, 1))
            links.append(_L.llama_sampler_init_temp(sampling.temperature))
            links.append(_L.llama_sampler_init_dist(sampling.seed))
        for link in links:
            if not link:  # a NULL in a chain is a segfault at the first sample
                _L.llama_sampler_free(chain)
                raise DecodeError("llama.cpp made no sampler for these settings")
            _L.llama_sampler_chain_add(chain, link)
        return Sampler(chain)

    def sample(self, sampler: Sampler, row: int) -> int:
        """Choose and accept a token from the logits of row `row`."""
        return int(_L.llama_sampler_sample(sampler._chain, self._ctx, self._outputs[row]))

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
        _L.llama_model_desc(self._model, buffer, 256)
        template = _L.llama_model_chat_template(self._model, None)
        return ModelFacts(
            description=buffer.value.decode("utf-8", "replace"),
            n_params=int(_L.llama_model_n_params(self._model)),
            size_bytes=int(_L.llama_model_size(self._model)),
            quantisation=(_L.llama_ftype_name(_L.llama_model_ftype(self._model)) or b"").decode(),
            n_vocab=self.vocab.size,
            ctx=self.ctx,
            ctx_train=int(_L.llama_model_n_ctx_train(self._model)),
            slots=self.slots,
            device=self.device,
            gpu_layers=self.gpu_layers,
            prefill_chunk=self.chunk,
            longest_token_bytes=self.vocab.longest_bytes,
            chat_template=(template or b"").decode("utf-8", "replace"),
            bos=self.vocab.text(self.vocab.bos),
            eos=self.vocab.text(self.vocab.eos),
            build=(_L.llama_version() or b"").decode("utf-8", "replace"),
        )

    def _run(self, count: int) -> None:
        batch = self._batch
        batch.struct.n_tokens = count
        code = _L.llama_decode(self._ctx, batch.struct)
        if code == 1:
            raise NoRoom("llama.cpp found no free KV cells for the batch")
        if code != 0:
            raise DecodeError(f"llama_decode answered {code} for a batch of {count} tokens")

    def _view_logits(self, count: int, rows: list[int]) -> None:
        pointer = _L.llama_get_logits(self._ctx)
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
        self.struct = _L.llama_batch()
        for field, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self.outputs),
        ):
            kind = dict(_L.llama_batch._fields_)[field]
            setattr(self.struct, field, ctypes.cast(array.ctypes.data, kind))


def _with_padding(rows: Sequence[Row], lengths: Sequence[int], ctx: int, pads: bool) -> list[Row]:
    """`rows` with padding rows (token -1) in narrow holes, and beside a row that would stand alone.

    A padding row is a token at the end of its slot's stream, removed after the call.
    """
    if not pads:
        return list(rows)
    taken = {row.slot: row for row in rows}
    wanted = set(taken)
    slots = sorted(taken)
    for left, right in itertools.pairwise(slots):
        if right - left - 1 <= MERGE_HOLE:
            wanted.update(range(left, right))
    for slot in sorted(wanted):
        if slot - 1 not in wanted and slot + 1 not in wanted:
            neighbour = slot + 1 if slot + 1 < len(lengths) else slot - 1
            if neighbour >= 0:
                wanted.add(neighbour)
    filled = []
    for slot in sorted(wanted):
        if slot in taken:
            filled.append(taken[slot])
        elif lengths[slot] < ctx:
            filled.append(Row(slot, lengths[slot], -1))
    return filled


def _chunk_for(n_params: int, *, on_gpu: bool) -> int:
    """Prompt tokens per call: as many as keep the pause of running streams in the tens of milliseconds."""
    if on_gpu:
        return 512
    return 128 if n_params < 50_000_000 else 64 if n_params < 500_000_000 else 32
