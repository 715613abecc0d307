"""The radix tree of what KV streams hold, against the obvious way of asking every stream."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.decode.prefixes import PrefixTree, common_length

tokens_of_few = st.lists(st.integers(0, 2), max_size=12)


class Sharing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree = PrefixTree()
        self.streams: dict[int, tuple[str, list[int]]] = {}

    @rule(stream=st.integers(0, 5), root=st.sampled_from(["", "lora"]), tokens=tokens_of_few)
    def put(self, stream: int, root: str, tokens: list[int]) -> None:
        self.tree.put(stream, root, tokens)
        self.streams[stream] = (root, tokens)

    @rule(stream=st.integers(0, 5))
    def remove(self, stream: int) -> None:
        self.tree.remove(stream)
        self.streams.pop(stream, None)

    @rule(root=st.sampled_from(["", "lora"]), tokens=tokens_of_few)
    def ask(self, root: str, tokens: list[int]) -> None:
        best: dict[int, int] = {}
        lengths = []
        for match in self.tree.matches(root, tokens):
            lengths.append(match.length)
            for stream in match.streams:
                best[stream] = match.length
        assert lengths == sorted(set(lengths))
        expected = {
            stream: shared
            for stream, (held_root, held) in self.streams.items()
            if held_root == root and (shared := common_length(held, 0, tokens, 0)) > 0
        }
        assert best == expected

    @invariant()
    def there_is_nothing_but_what_streams_hold(self) -> None:
        held = [held for _root, held in self.streams.values() if held]
        roots = len({root for root, tokens in self.streams.values() if tokens})
        assert self.tree.nodes() <= roots + max(0, 2 * len(held) - 1)
        if not held:
            assert self.tree.nodes() == 0


Sharing.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestSharing = Sharing.TestCase


@given(tokens_of_few, tokens_of_few, st.integers(0, 3), st.integers(0, 3))
def test_the_common_length_is_what_counting_gives(left: list[int], right: list[int], a: int, b: int) -> None:
    a, b = min(a, len(left)), min(b, len(right))
    count = 0
    while a + count < len(left) and b + count < len(right) and left[a + count] == right[b + count]:
        count += 1
    assert common_length(left, a, right, b) == count
