"""A batch of tokens for llama_decode."""

from __future__ import annotations

import ctypes

import numpy as np

from engine.decode.bindings import L


class Batch:
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
