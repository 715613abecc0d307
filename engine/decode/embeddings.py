"""Embeddings: the mean of the model's last hidden states over a text, in a context of its own.

One chunk of one text between two steps of the decode loop, so that running streams go on.
"""

from __future__ import annotations

import ctypes
from collections import deque

import numpy as np

from engine.decode.batch import Batch
from engine.decode.bindings import L
from engine.decode.llama import Llama
from engine.errors import DecodeError
from engine.wire import Vector


class Embeddings:
    """Texts in the order they came. The context is made for the first one: who needs none pays nothing."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._context: _Context | None = None
        self._texts: deque[tuple[int, list[int]]] = deque()
        self._done = 0
        """Tokens of the first text that are computed."""

    @property
    def pending(self) -> int:
        return len(self._texts)

    def put(self, id: int, tokens: list[int]) -> None:
        """Queue a text of 1 to ctx tokens."""
        self._texts.append((id, tokens))

    def cancel(self, id: int) -> bool:
        """Forget a text; False when it is not here."""
        for index, (other, _tokens) in enumerate(self._texts):
            if other == id:
                del self._texts[index]
                self._done = 0 if index == 0 else self._done
                return True
        return False

    def step(self) -> Vector | None:
        """Compute a chunk; the vector of a text that this completes, or why there is none."""
        if not self._texts:
            return None
        id, tokens = self._texts[0]
        try:
            if self._context is None:
                self._context = _Context(self._llama)
            if self._done == 0:
                self._context.begin()
            self._done += self._context.add(tokens[self._done :])
            if self._done < len(tokens):
                return None
            vector = Vector(id, self._context.values(), len(tokens))
        except DecodeError as error:
            vector = Vector(id, b"", len(tokens), error=str(error))
        self._texts.popleft()
        self._done = 0
        return vector


class _Context:
    """llama.cpp's side of it: one text at a time, chunk by chunk."""

    def __init__(self, llama: Llama) -> None:
        params = L.llama_context_default_params()
        params.n_ctx, params.n_seq_max = llama.ctx, 1
        params.n_batch = params.n_ubatch = llama.chunk
        params.n_threads = params.n_threads_batch = llama.threads
        params.no_perf = True
        params.embeddings = True
        params.pooling_type = L.LLAMA_POOLING_TYPE_NONE
        params.offload_kqv = params.op_offload = llama.model.gpu_layers > 0
        self._ctx = L.llama_init_from_model(llama.model.pointer, params)
        if not self._ctx:
            raise DecodeError("no memory is left for embeddings: use fewer slots or a shorter ctx")
        self._memory = L.llama_get_memory(self._ctx)
        self._n_embd = llama.model.n_embd
        self._batch = Batch(llama.chunk)
        self._chunk = llama.chunk
        self._sum = np.zeros(self._n_embd)
        self._count = 0

    def begin(self) -> None:
        """Start a new text."""
        L.llama_memory_clear(self._memory, True)
        self._sum[:], self._count = 0.0, 0

    def add(self, tokens: list[int]) -> int:
        """Compute the next tokens, as many as one call takes; returns how many those were."""
        tokens = tokens[: self._chunk]
        batch, count = self._batch, len(tokens)
        batch.tokens[:count] = tokens
        batch.positions[:count] = np.arange(self._count, self._count + count, dtype=np.int32)
        batch.outputs[:count] = 1
        batch.struct.n_tokens = count
        code = L.llama_decode(self._ctx, batch.struct)
        if code != 0:
            raise DecodeError(f"llama_decode answered {code} for an embedding of {len(tokens)} tokens")
        pointer = ctypes.cast(L.llama_get_embeddings(self._ctx), ctypes.POINTER(ctypes.c_float))
        states = np.ctypeslib.as_array(pointer, shape=(len(tokens), self._n_embd))
        self._sum += states.sum(axis=0, dtype=np.float64)
        self._count += len(tokens)
        return len(tokens)

    def values(self) -> bytes:
        """The mean so far, scaled to length 1, as little-endian float32."""
        mean = self._sum / self._count
        length = float(np.linalg.norm(mean))
        if not np.isfinite(length) or length == 0.0:
            raise DecodeError("the model computed values that are no numbers; its file may be damaged")
        return (mean / length).astype("<f4").tobytes()
