"""A batch of tokens for llama_decode."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.decode.bindings import L


class Batch:
    """A llama_batch over numpy arrays, so that a step writes whole columns and allocates nothing."""

    def __init__(self, capacity: int, *, dimensions: int = 1) -> None:
        """dimensions: positions that each row of an image has; they stand in `positions` one after another."""
        self.tokens = np.zeros(capacity, np.int32)
        self.positions = np.zeros(capacity * dimensions, np.int32)
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
            self._point(field, array)
        self._embedded = L.llama_batch.from_buffer_copy(self.struct)
        self._embedded.token = None

    def embedded(self, rows: npt.NDArray[np.float32]) -> Any:
        """The struct with rows in the place of tokens: (n, n_embd), contiguous, to be kept alive by the caller."""
        self._embedded.embd = ctypes.cast(rows.ctypes.data, ctypes.POINTER(ctypes.c_float))
        self._embedded.n_tokens = len(rows)
        return self._embedded

    def _point(self, field: str, array: npt.NDArray[Any]) -> None:
        setattr(self.struct, field, ctypes.cast(array.ctypes.data, dict(L.llama_batch._fields_)[field]))
