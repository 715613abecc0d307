"""Answers kept for the next request that asks for the same, within a bound in bytes; the longest unused go first."""

from __future__ import annotations

import sys
from collections import OrderedDict

_ENTRY_BYTES = 256
"""What the table takes for one entry beside its key and value, at the worst time (it has just doubled)."""


class ResponseCache:
    """Keys to values, both bytes. `size_bytes` counts what they take in memory, and never exceeds `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        """The value, which thereby counts as used; None when it is not here."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Keep the value in the place of an earlier one. One that alone exceeds the limit is not kept."""
        self._drop(key)
        size = _size(key, value)
        if size > self.limit_bytes:
            return
        while self.size_bytes + size > self.limit_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = value
        self.size_bytes += size

    def _drop(self, key: bytes) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self.size_bytes -= _size(key, value)


def _size(key: bytes, value: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + _ENTRY_BYTES
