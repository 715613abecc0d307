"""A batch of tokens for llama_decode."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
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

        self._single = (self.struct.token, self.struct.pos)
        self._slots: list[int] = []
        """What `fill` has left in `sequences` and `outputs`."""

    def fill(self, tokens: Iterable[int], positions: Iterable[int], slots: list[int]) -> None:
        """One token of each of these slots, all with logits. A few numbers: through ctypes, which costs less than numpy
        and is in the processor's cache anyway."""
        token, position = self._single
        for index, value in enumerate(tokens):
            token[index] = value
        for index, value in enumerate(positions):
            position[index] = value
        if slots != self._slots:
            self.sequences[: len(slots)] = slots
            self.outputs[: len(slots)] = 1
            self._slots = slots

    def of_one(self, slot: int, count: int, *, wants_logits: bool) -> None:
        """`count` tokens or rows of one slot; logits of the last one only, if at all."""
        self.sequences[:count] = slot
        self.outputs[:count] = 0
        self.outputs[count - 1] = wants_logits
        self._slots = []

    def embedded(self, rows: npt.NDArray[np.float32]) -> Any:
        """The struct with rows in the place of tokens: (n, n_embd), contiguous, to be kept alive by the caller."""
        self._embedded.embd = ctypes.cast(rows.ctypes.data, ctypes.POINTER(ctypes.c_float))
        self._embedded.n_tokens = len(rows)
        return self._embedded

    def _point(self, field: str, array: npt.NDArray[Any]) -> None:
        setattr(self.struct, field, ctypes.cast(array.ctypes.data, dict(L.llama_batch._fields_)[field]))
