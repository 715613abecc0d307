"""The response cache: never above its bound, the longest unused go first, honest about its bytes."""

from __future__ import annotations

import gc
import tracemalloc

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.api.response_cache import ResponseCache

LIMIT = 4_000
KEYS = st.binary(min_size=1, max_size=2)


class CacheMachine(RuleBasedStateMachine):
    """Beside the cache a list of (key, value), the longest unused first, without a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = ResponseCache(LIMIT)
        self.known: list[tuple[bytes, bytes]] = []

    @rule(key=KEYS, size=st.integers(0, 5_000))
    def put(self, key: bytes, size: int) -> None:
        value = bytes(size)
        self.cache.put(key, value)
        self.known = [pair for pair in self.known if pair[0] != key]
        kept = self.cache.get(key)
        assert kept in (value, None)
        assert kept is not None or size > LIMIT - 600
        assert kept is None or size < LIMIT
        if kept is not None:
            self.known.append((key, value))
        self._forget_what_went()

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        found = self.cache.get(key)
        expected = dict(self.known).get(key)
        assert found == expected
        if found is not None:
            self.known = [pair for pair in self.known if pair[0] != key] + [(key, found)]

    def _forget_what_went(self) -> None:
        """What went is the longest unused: the entries still there are the newest ones."""
        self.known = self.known[len(self.known) - len(self.cache) :]

    @invariant()
    def the_bound_holds_and_the_bytes_are_those_of_the_entries(self) -> None:
        assert 0 <= self.cache.size_bytes <= LIMIT
        held = sum(len(key) + len(value) for key, value in self.known)
        assert held + 250 * len(self.known) <= self.cache.size_bytes <= held + 400 * len(self.known)
        assert len(self.cache) == len(self.known)


CacheMachine.TestCase.settings = settings(deadline=None)
TestCacheMachine = CacheMachine.TestCase


def test_an_entry_larger_than_the_whole_cache_is_not_kept_and_pushes_nothing_out() -> None:
    cache = ResponseCache(2_000)
    cache.put(b"small", b"x" * 100)
    cache.put(b"large", b"x" * 2_000)
    assert cache.get(b"large") is None
    assert cache.get(b"small") == b"x" * 100


def test_a_value_replaced_by_one_that_is_too_large_is_gone_rather_than_stale() -> None:
    cache = ResponseCache(2_000)
    cache.put(b"key", b"old")
    cache.put(b"key", b"x" * 5_000)
    assert cache.get(b"key") is None
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_the_bytes_counted_are_no_fewer_than_those_the_process_holds() -> None:
    for count in (100, 1_366, 5_000):
        gc.collect()
        tracemalloc.start()
        cache = ResponseCache(1 << 30)
        for number in range(count):
            cache.put(number.to_bytes(16, "big"), b"v" * (number % 300))
        held, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held <= cache.size_bytes + 2_000
        assert cache.size_bytes <= 2 * held
